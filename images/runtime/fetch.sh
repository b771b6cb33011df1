#!/bin/sh
# Fetches the packages of debian.lock, checks their sums, and unpacks each into its own folder, debs/<name>; what a
# Python needs also into one, python/, with a command python3.11 that runs it on nothing but itself.
set -eu
wanted=$(grep -v '^#' debian.lock)
apt-get -qq update
mkdir -p archives python && cd archives
for package in $(echo "$wanted" | awk '{print $1 "=" $2}'); do
  apt-get -qq download "$package" 2>/dev/null || missing="${missing-}
  $package"
done
if [ -n "${missing-}" ]; then
  echo "Debian's mirror no longer has:$missing" >&2
  echo "A newer version replaced it. Take the new versions with images/runtime/lock, look at the change, and build again." >&2
  exit 1
fi
for archive in *.deb; do
  name=${archive%%_*}
  sum=$(echo "$wanted" | awk -v name="$name" '$1 == name {print $3}')
  echo "$sum  $archive" | sha256sum --quiet --check - || { echo "$archive is not what debian.lock names" >&2; exit 1; }
  mkdir -p "../debs/$name"
  dpkg-deb --extract "$archive" "../debs/$name"
  dpkg-deb --extract "$archive" ../python
done
cd .. && rm -r archives

cat >/usr/local/bin/python3.11 <<END
#!/bin/sh
lib=$PWD/python/lib/x86_64-linux-gnu
exec \$lib/ld-linux-x86-64.so.2 --library-path \$lib:$PWD/python/usr/lib/x86_64-linux-gnu $PWD/python/usr/bin/python3.11 "\$@"
END
chmod +x /usr/local/bin/python3.11
