"""The command `deepaas-batch audit`: what of the runtime layer is known to be vulnerable, and whether a fix is there.

Wheels (images/runtime/requirements.txt) are asked about at OSV, by pip-audit, and so are the Rust crates in them
(images/runtime/crates.lock; OSV has RUSTSEC); Debian's packages (the layer's in images/runtime/debian.lock: glibc,
OpenSSL, CPython itself) at Debian's security tracker, one document of some 70 MB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import requests
from debian.debian_support import Version

from scripts.checkout import ROOT
from supervisor.failures import SUCCESS, BadUsage, ItemFailed, PassingTrouble

RUNTIME = ROOT / "images" / "runtime"
OSV = "https://api.osv.dev/v1/query"
TRACKER = "https://security-tracker.debian.org/tracker/data/json"
RELEASE = "bookworm"
_AT_ONCE = 4
_UNREACHABLE = "the databases are on the internet: run this where they can be reached, or name mirrors (--help)"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One known vulnerability. minor: worth no advisory, or not certain, in the eyes of Debian's security team."""

    package: str
    version: str
    id: str
    fixed: str | None
    minor: bool
    about: str

    @property
    def counts(self) -> bool:
        return self.fixed is not None or not self.minor

    def __str__(self) -> str:
        advice = f"fixed in {self.fixed}" if self.fixed else "no fix yet" + (", thought minor" if self.minor else "")
        return f"{self.package} {self.version}: {self.id}, {advice}: {' '.join(self.about.split())[:100]}"


def python_findings(requirements: Path, osv: str) -> Iterator[Finding]:
    """Raises PassingTrouble where OSV does not answer."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--disable-pip",
               "--vulnerability-service", "osv", "--osv-url", osv, "--format", "json",
               "--progress-spinner", "off"]  # fmt: skip
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    said = (ended.stderr.strip().splitlines() or [f"it ended with {ended.returncode}"])[-1]
    if "No module named pip_audit" in said:
        raise BadUsage("pip-audit is not installed", "pip install -e '.[host]'")
    # It exits with 1 where it found something and where it failed; only the first prints a report.
    try:
        dependencies = json.loads(ended.stdout)["dependencies"]
    except ValueError:
        raise PassingTrouble(f"OSV at {osv} could not be asked: {said}", _UNREACHABLE) from None
    for package in dependencies:
        for found in package.get("vulns", []):
            yield Finding(package=package["name"], version=package["version"], id=found["id"], minor=False,
                          fixed=next(iter(found["fix_versions"]), None), about=found["description"])  # fmt: skip


def crate_findings(lock: Path, osv: str) -> Iterator[Finding]:
    """What OSV knows of the crates in the lock, RustSec's advisories among it. Raises PassingTrouble."""
    lines = [line.split() for line in lock.read_text().splitlines() if not line.startswith("#")]
    crates = [(name, version) for name, version in lines]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for (name, version), known in zip(
            crates, pool.map(lambda crate: _known_of(crate[0], crate[1], osv), crates), strict=True
        ):
            ids = {entry["id"] for entry in known}
            for entry in known:
                # GitHub repeats RustSec's advisories under ids of its own.
                if any(alias.startswith("RUSTSEC-") for alias in ids & set(entry.get("aliases", ()))):
                    continue
                affected = [each for each in entry.get("affected", ()) if each["package"]["name"] == name]
                yield Finding(package=name, version=version, id=entry["id"], fixed=_fix_of(affected),
                              minor=any(each.get("database_specific", {}).get("informational") for each in affected),
                              about=entry.get("summary") or entry.get("details", ""))  # fmt: skip


def _known_of(name: str, version: str, osv: str) -> list[dict[str, Any]]:
    try:
        query = {"package": {"name": name, "ecosystem": "crates.io"}, "version": version}
        answer = requests.post(osv, json=query, timeout=60)
        answer.raise_for_status()
        return list(answer.json().get("vulns", ()))
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise PassingTrouble(f"OSV at {osv} could not be asked: {error}", _UNREACHABLE) from None


def _fix_of(affected: Iterable[Mapping[str, Any]]) -> str | None:
    events = (event for each in affected for part in each.get("ranges", ()) for event in part["events"])
    return next((event["fixed"] for event in events if "fixed" in event), None)


def debian_findings(lock: Path, tracker: str) -> Iterator[Finding]:
    """Raises PassingTrouble where the tracker cannot be read. The tracker knows sources: the lock's paths name them."""
    known = _tracker(tracker)
    versions = {}
    for line in lock.read_text().splitlines():
        if line.startswith("#"):
            continue
        _, version, _, use, path, _ = line.split(maxsplit=5)
        if use == "layer":
            versions[PurePosixPath(path).parent.name] = version  # pool/main/g/glibc/libc6_….deb
    for source, version in sorted(versions.items()):
        for cve, entry in sorted(known.get(source, {}).items()):
            here = entry.get("releases", {}).get(RELEASE)
            fixed = here.get("fixed_version") if here else None
            if here is None or (fixed and Version(fixed) <= Version(version)):
                continue
            minor = "nodsa" in here or here.get("urgency") == "unimportant" or here.get("status") == "undetermined"
            yield Finding(package=source, version=version, id=cve, fixed=fixed, minor=minor,
                          about=entry.get("description", ""))  # fmt: skip


def _tracker(place: str) -> dict[str, Any]:
    try:
        if place.startswith(("https://", "http://")):
            answer = requests.get(place, timeout=60)
            answer.raise_for_status()
            known = answer.json()
        else:
            known = json.loads(Path(place).read_bytes())
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise PassingTrouble(f"Debian's security tracker at {place} cannot be read: {error}", _UNREACHABLE) from None
    if not isinstance(known, dict) or "glibc" not in known:
        raise PassingTrouble(f"what {place} holds is not Debian's security tracker", _UNREACHABLE)
    return known


# The command.

DESCRIPTION = """\
Says what of the runtime layer is known to be vulnerable, and whether a fix is there to take. Wheels and the Rust crates
in them are asked about at OSV; Debian's packages (glibc, OpenSSL, CPython itself) at Debian's security tracker, one
document of some 70 MB."""
EPILOG = """\
It exits 0 where there is nothing to do, 65 where something is, 75 where a database cannot be reached.

examples:
  deepaas-batch audit
  deepaas-batch audit --ignore CVE-2026-0001 --json
  deepaas-batch audit --debian-tracker tracker.json --osv-url https://mirror.example.org/v1/query"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--osv-url", default=OSV, metavar="URL", help="OSV's query address (default: %(default)s)")
    parser.add_argument("--debian-tracker", default=TRACKER, metavar="URL|FILE", help="default: %(default)s")
    parser.add_argument("--ignore", action="append", default=[], metavar="ID", help="one that is accepted; repeatable")
    parser.add_argument("--json", action="store_true", help="for machines")


def main(options: argparse.Namespace) -> int:
    """65 where something is to be done. Raises PassingTrouble, BadUsage."""
    accepted = {word for each in options.ignore for word in each.replace(",", " ").split()}
    found = [*python_findings(RUNTIME / "requirements.txt", options.osv_url),
             *crate_findings(RUNTIME / "crates.lock", options.osv_url),
             *debian_findings(RUNTIME / "debian.lock", options.debian_tracker)]  # fmt: skip
    found = [each for each in found if each.id not in accepted]
    urgent = [each for each in found if each.counts]
    code = ItemFailed.code if urgent else SUCCESS
    if options.json:
        print(json.dumps([asdict(each) | {"counts": each.counts} for each in found], indent=2))
        return code
    for each in sorted(found, key=lambda each: not each.counts):
        print(each)
    print(f"The runtime layer: {len(found)} known vulnerabilities, {len(urgent)} to look at.")
    if any(each.fixed for each in found):
        print("To take the fixes: images/runtime/lock, then deepaas-batch images (docs/operations.md).")
    return code
