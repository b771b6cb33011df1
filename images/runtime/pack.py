"""Adds the supervisor to what install.py made, with the SBOM and the launcher, and packs it all into /build/out.

The same locks and sources give the same bytes: no clock, folder order or hash seed reaches the archive.
"""

import os
import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import sbom
from install import BUILD, LICENCES, LOADER, PARTS, ROOT, RUNTIME, SITE, compile_bytecode, run

OUT = BUILD / "out"
LAUNCHER = RUNTIME / "bin/supervisor"
SBOM = RUNTIME / "sbom.json"


def main() -> None:
    shutil.copytree(BUILD / "supervisor", SITE / "supervisor", ignore=shutil.ignore_patterns("__pycache__"))
    compile_bytecode(SITE / "supervisor")
    for name in ("main.py", "openssl.cnf"):
        shutil.copyfile(BUILD / name, RUNTIME / name)
    shutil.copyfile(BUILD / "LICENSE", LICENCES / "supervisor")
    write_parts()
    compile_launcher()
    OUT.mkdir()
    shutil.copyfile(SBOM, OUT / "sbom.json")
    write_archive(OUT / "runtime.tar")


def write_parts() -> None:
    """The SBOM and the list of licences. Whatever no Debian package and no wheel brought is the supervisor's."""
    (version,) = re.findall(r'^__version__ = "(.+)"$', (SITE / "supervisor/__init__.py").read_text(), re.M)
    others = [with_bytecode(part) if part.within is None else part for part in sbom.read(PARTS)]
    for path in (LAUNCHER, SBOM, LICENCES / "README"):
        path.touch()
    theirs = {file for part in others for file in part.files}
    files = (path.relative_to(ROOT).as_posix() for path in sorted(RUNTIME.rglob("*")) if path.is_file())
    supervisor = sbom.Component(
        name="supervisor",
        version=version,
        purl=f"pkg:generic/deepaas-batch/supervisor@{version}",
        licence="Apache-2.0",
        type="application",
        files=tuple(file for file in files if file not in theirs),
    )
    parts = [supervisor, *others]
    SBOM.write_text(sbom.cyclonedx(parts, version))
    (LICENCES / "README").write_text(sbom.licences(parts))


def compile_launcher() -> None:
    """With the names of all that is in the layer, itself too: its size depends on how many they are, not on which."""
    tcc = BUILD / "debs/tcc/usr/bin/tcc"
    known = ""
    while (names := names_in(RUNTIME)) != known:
        known = names
        (BUILD / "tree.h").write_text(names)
        run(f"{tcc} -Wall -Werror -static -nostdlib -o {LAUNCHER} {BUILD}/launcher.c")


def names_in(folder: Path) -> str:
    """The C array of what may be in the folder: a hash for each name, with the size and the time of a file."""
    hashes = sorted(hashed(path, f"/{path.relative_to(folder.parent).as_posix()}") for path in folder.rglob("*"))
    return "static const unsigned long TREE[] = {\n" + "".join(f"{each}UL,\n" for each in hashes) + "};\n"


def hashed(path: Path, name: str) -> int:
    """FNV-1a of 64 bits, as launcher.c has it."""
    facts = b"" if path.is_dir() else path.stat().st_size.to_bytes(8, "little") + bytes(8)  # the archive's time is 0
    value = 0xCBF29CE484222325
    for byte in os.fsencode(name) + b"\0" + facts:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def with_bytecode(part: sbom.Component) -> sbom.Component:
    """The part with what its modules were compiled to."""
    compiled = (Path(file).parent / f"__pycache__/{Path(file).stem}.cpython-311.pyc" for file in part.files)
    there = (file.as_posix() for file in compiled if (ROOT / file).exists())
    return replace(part, files=tuple(sorted({*part.files, *there})))


def write_archive(path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for source in (RUNTIME, *sorted(RUNTIME.rglob("*"))):
            archive.add(source, source.relative_to(ROOT).as_posix(), recursive=False, filter=normalised)


def normalised(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    program = Path(entry.name).parent.name == "bin" or Path(entry.name).name == LOADER
    entry.mode = 0o755 if entry.isdir() or program else 0o644
    return entry


if __name__ == "__main__":
    main()
