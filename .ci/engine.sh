#!/usr/bin/env bash
# A Docker engine, a base image, a registry, a browser, a C compiler and jq on a bare Debian machine, for the tests that
# need them.
# Quick and silent when both are there already. Nothing in here is part of the product.
set -euo pipefail
base=debian:bookworm-slim
bundle=/etc/ssl/certs/ca-certificates.crt
log=/var/log/dockerd-tests.log

fail() { echo "engine.sh: $*" >&2; exit 1; }
ready() { docker info >/dev/null 2>&1; }

install_missing() {
  local missing=()
  command -v dockerd >/dev/null || missing+=(docker.io)
  command -v debootstrap >/dev/null || missing+=(debootstrap)
  command -v docker-registry >/dev/null || missing+=(docker-registry)  # a registry on loopback, to push to
  command -v chromium >/dev/null && command -v chromedriver >/dev/null || missing+=(chromium chromium-driver)
  command -v gcc >/dev/null || missing+=(gcc libc6-dev)
  command -v jq >/dev/null || missing+=(jq)
  [ ${#missing[@]} -eq 0 ] && return
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" iptables >/dev/null
}

start_engine() {
  ready && return
  setsid nohup dockerd >"$log" 2>&1 </dev/null &
  local engine=$!
  for _ in $(seq 150); do
    ready && return
    kill -0 "$engine" 2>/dev/null || break
    sleep 0.2
  done
  tail -n 40 "$log" >&2
  fail "dockerd did not come up; its log is above and in $log"
}

# The stand-in carries this host's certificates and package sources, since a pulled image could reach neither here.
make_base() {
  docker image inspect "$base" >/dev/null 2>&1 && return
  local root
  root=$(mktemp -d /var/tmp/base.XXXXXX)
  trap 'rm -rf "$root"' RETURN
  debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >"$root.log" 2>&1 ||
    { tail -n 20 "$root.log" >&2; fail "debootstrap failed; its log is above and in $root.log"; }
  rm -f "$root.log"
  cp "$bundle" "$root$bundle"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  [ -f /etc/apt/sources.list.d/debian.sources ] &&
    { cp /etc/apt/sources.list.d/debian.sources "$root/etc/apt/sources.list.d/"; : >"$root/etc/apt/sources.list"; }
  tar -C "$root" -c . | docker import --change "ENV PIP_CERT=$bundle" --change 'CMD ["bash"]' - "$base" >/dev/null
}

install_missing
start_engine
make_base
