"""The runtime's parts, their licences and where their source is: as CycloneDX, and for people to read."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

CHANGES = """\
Programs and libraries in lib/, bin/ and site/ were changed as follows, by images/runtime/install.py of the project's
source: their search path, and the interpreter of bin/python3.11, name /supervisor/lib (patchelf); symbols that only a
debugger reads were removed (strip); ld-linux-x86-64.so.2 reads no /etc/ld.so.preload. What no part of the supervisor
imports was left out. LGPL libraries (glibc) are linked dynamically: a file of your own in lib/ takes the place of ours
once the layer is built with it.
"""


@dataclass(frozen=True, kw_only=True)
class Component:
    """A Debian package, a wheel, a Rust crate, or the supervisor.

    files: relative to the image's root. within: the purl of the wheel that a crate is compiled into.
    """

    name: str
    version: str
    purl: str
    licence: str
    source: str | None = None
    sha256: str | None = None
    author: str | None = None
    within: str | None = None
    type: str = "library"
    files: tuple[str, ...] = ()

    def cyclonedx(self) -> dict[str, Any]:
        described: dict[str, Any] = {
            "type": self.type,
            "bom-ref": self.purl,
            "name": self.name,
            "version": self.version,
            "purl": self.purl,
            "licenses": [{"expression": self.licence}],
        }
        if self.source:
            described["externalReferences"] = [{"type": "source-distribution", "url": self.source}]
        if self.files:
            described["evidence"] = {"occurrences": [{"location": f"/{file}"} for file in self.files]}
        if self.sha256:
            described["hashes"] = [{"alg": "SHA-256", "content": self.sha256}]
        if self.author:
            described["authors"] = [{"name": self.author}]
        return described

    def __str__(self) -> str:
        by = f", by {self.author}" if self.author else ""
        return f"{self.name} {self.version}{by}: {self.licence}; source: {self.source or 'in ../site/supervisor'}"


def debian_component(name: str, version: str, sha256: str, path: str, licence: str, files: Iterable[str]) -> Component:
    """path: of the package in Debian's archive, pool/main/<letter>/<source package>/<file>."""
    source, built_from = Path(path).parent.name, version.partition("+b")[0]
    return Component(
        name=name,
        version=version,
        purl=f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch=amd64&distro=debian-12",
        licence=licence,
        source=f"https://snapshot.debian.org/package/{quote(source)}/{quote(built_from)}/",
        sha256=sha256,
        files=tuple(files),
    )


def own_licence(files: Iterable[Path]) -> str:
    """The licence of a wheel whose metadata names none, from the SBOM among its files."""
    path = next(file for file in files if file.parent.name == "sboms")
    return str(json.loads(path.read_text())["metadata"]["component"]["licenses"][0]["expression"])


def crates_of(wheel: Component, sbom: Path) -> list[Component]:
    """The crates that a wheel was compiled from, as its own SBOM (cargo-cyclonedx) names them."""
    found = []
    for crate in json.loads(sbom.read_text())["components"]:
        name, version = crate["name"], crate["version"]
        # Cargo used to write "MIT/Apache-2.0", which SPDX does not know.
        licence = " ".join(crate["licenses"][0]["expression"].replace("/", " OR ").split())
        found.append(
            Component(
                name=name,
                version=version,
                purl=f"pkg:cargo/{name}@{quote(version, safe='')}",
                licence=licence,
                source=f"https://crates.io/crates/{name}/{version}",
                sha256=next((each["content"] for each in crate.get("hashes", ()) if each["alg"] == "SHA-256"), None),
                author=crate.get("author"),
                within=wheel.purl,
            )
        )
    return found


def write(components: Iterable[Component], path: Path) -> None:
    path.write_text(json.dumps([asdict(component) for component in components]))


def read(path: Path) -> list[Component]:
    return [Component(**fields | {"files": tuple(fields["files"])}) for fields in json.loads(path.read_text())]


def cyclonedx(components: Iterable[Component], version: str) -> str:
    """CycloneDX 1.6, without the serial number and date that would make each build another."""
    parts = sorted(components, key=lambda part: part.purl)
    layer = {"type": "container", "bom-ref": "runtime", "name": "deepaas-batch-runtime", "version": version}
    inside = {part.purl: [each.purl for each in parts if each.within == part.purl] for part in parts}
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": layer},
        "components": [part.cyclonedx() for part in parts],
        "dependencies": [
            {"ref": "runtime", "dependsOn": [part.purl for part in parts if part.within is None]},
            *({"ref": purl, "dependsOn": crates} for purl, crates in inside.items() if crates),
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def licences(components: Iterable[Component]) -> str:
    """What lies below /supervisor, part by part, for whoever is to know its licences and find its source."""
    groups = {
        "The supervisor": "pkg:generic/",
        "Debian packages (the licence of each: the file of its name here, which refers to common/)": "pkg:deb/",
        "Python packages (the licence of each: in its .dist-info folder in ../site)": "pkg:pypi/",
        "Rust crates, compiled into ../site/obstore (the text of each licence: in common/)": "pkg:cargo/",
    }
    parts = sorted(components, key=lambda part: (part.name, part.version))
    sections = [
        "\n".join([title, "", *(f"  {part}" for part in parts if part.purl.startswith(kind))])
        for title, kind in groups.items()
    ]
    return (
        "\n\n".join(["What is in this folder, its licences, and where its source is.", CHANGES.strip(), *sections])
        + "\n"
    )
