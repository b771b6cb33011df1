#!/bin/sh
# Fetches the packages of debian.lock, checks their sums, and unpacks each into its own folder, debs/<name>, and all into one,
# tools/, with commands python3.11 and strip that run on nothing but what is there.
#   SNAPSHOT  Debian's snapshot archive, for what the mirror has no longer: a security update takes the place of the
#             version before it within the hour
set -eu
snapshot=${SNAPSHOT:-http://snapshot.debian.org/archive}
date=$(sed -n 's/^# snapshot \([0-9TZ]*\):.*/\1/p' debian.lock)
grep -v '^#' debian.lock >wanted
apt-get -qq update 2>/dev/null || true # a mirror out of reach has no packages, which is told below
mkdir -p archives debs tools

from_mirror() { (cd archives && apt-get -qq download "$name=$version" && mv "${name}"_*.deb "$name.deb") 2>/dev/null; }

from_snapshot() {
  case $path in
    pool/updates/*) archive=debian-security ;;
    *) archive=debian ;;
  esac
  url=$snapshot/$archive/$date/$path
  /usr/lib/apt/apt-helper -qq -o Acquire::Retries=3 download-file "$url" "archives/$name.deb" 2>archives/error || return 1
  echo "note: $name $version is no longer on Debian's mirror and comes from $url"
}

while read -r name version sum use path licence; do
  from_mirror || from_snapshot || { missing="${missing-} $name=$version"; continue; }
  echo "$sum  archives/$name.deb" | sha256sum --quiet --check - >&2 || { echo "error: $name $version is not what debian.lock names" >&2; exit 1; }
  dpkg-deb --extract "archives/$name.deb" "debs/$name"
  dpkg-deb --extract "archives/$name.deb" tools
done <wanted
if [ -n "${missing-}" ]; then
  echo "error: neither Debian's mirror nor its snapshot archive ($snapshot, $date) gives$missing" >&2
  if [ -e archives/error ]; then grep '^E:' archives/error | tail -n 1 >&2; fi
  echo "Is the network there? If it is, take the versions of today with images/runtime/lock, look at the change, and build again." >&2
  exit 1
fi
rm -r archives wanted

libraries=$PWD/tools/lib/x86_64-linux-gnu:$PWD/tools/usr/lib/x86_64-linux-gnu
for program in python3.11 x86_64-linux-gnu-strip; do
  command=/usr/local/bin/${program#x86_64-linux-gnu-}
  printf '#!/bin/sh\nexec %s --library-path %s %s "$@"\n' \
    "$PWD/tools/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" "$libraries" "$PWD/tools/usr/bin/$program" >"$command"
  chmod +x "$command"
done
