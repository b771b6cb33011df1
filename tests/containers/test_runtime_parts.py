"""What the private runtime is made of: its SBOM, the licences of all parts, and where the source of each is."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import LicenseSymbol, LicenseWithExceptionSymbol, get_spdx_licensing

from tests.containers import images

pytestmark = pytest.mark.containers


def test_the_sbom_is_valid_cyclonedx(runtime: Path) -> None:
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str((runtime.parent / "sbom.json").read_text())

    assert found is None


def test_the_sbom_names_every_locked_package_and_wheel(runtime: Path) -> None:
    folder = images.ROOT / "images/runtime"
    debian = [line.split() for line in (folder / "debian.lock").read_text().splitlines()]
    wheels = [line.split() for line in (folder / "requirements.txt").read_text().splitlines()]
    locked = {(line[0], line[1], line[2]) for line in debian if line[0] != "#" and line[3] == "layer"}
    for pin, digest in (line for line in wheels if line[0] != "#"):
        name, _, version = pin.partition("==")
        locked.add((name, version, digest.removeprefix("--hash=sha256:")))

    named = {
        (part["name"], part["version"], part["hashes"][0]["content"])
        for kind in ("deb", "pypi")
        for part in components(runtime, kind)
    }
    assert named == locked


def test_the_sbom_names_every_crate_that_obstore_is_made_of(runtime: Path) -> None:
    [sbom_of_obstore] = [text for name, text in texts(runtime).items() if name.endswith("obstore.cyclonedx.json")]
    theirs = json.loads(sbom_of_obstore)
    [obstore] = [part["bom-ref"] for part in components(runtime, "pypi") if part["name"] == "obstore"]

    crates = components(runtime, "cargo")

    assert {(part["name"], part["version"]) for part in crates} == {
        (part["name"], part["version"]) for part in theirs["components"]
    }
    assert {"ref": obstore, "dependsOn": sorted(part["bom-ref"] for part in crates)} in sbom(runtime)["dependencies"]


def test_the_sbom_accounts_for_every_file_the_compiled_ones_and_ours_too(runtime: Path) -> None:
    owners = [
        occurrence["location"]
        for component in sbom(runtime)["components"]
        for occurrence in component.get("evidence", {}).get("occurrences", ())
    ]
    with tarfile.open(runtime) as archive:
        files = [f"/{entry.name}" for entry in archive if entry.isreg()]

    assert sorted(owners) == sorted(files)
    [supervisor] = [part for part in sbom(runtime)["components"] if part["name"] == "supervisor"]
    its = {occurrence["location"] for occurrence in supervisor["evidence"]["occurrences"]}
    assert {"/supervisor/bin/supervisor", "/supervisor/site/supervisor/cli.py"} <= its


def test_the_layer_holds_the_text_of_a_licence_of_every_part_and_says_where_its_source_is(runtime: Path) -> None:
    there = {name.removeprefix("supervisor/licences/") for name in texts(runtime)}
    common = {name.removeprefix("common/") for name in there if name.startswith("common/")}

    for part in components(runtime, "deb"):
        assert part["name"] in there
    for part in components(runtime, "pypi"):
        files = [each["location"].lower() for each in part["evidence"]["occurrences"]]
        assert any("licen" in file.rpartition("/")[2] for file in files) or part["name"] == "obstore"
    for part in [*components(runtime, "cargo"), *components(runtime, "pypi", "obstore")]:
        assert may_be_used(part["licenses"][0]["expression"], common), part
    readme = texts(runtime)["supervisor/licences/README"]
    for part in sbom(runtime)["components"]:
        if part["name"] != "supervisor":
            [source] = [each["url"] for each in part["externalReferences"]]
            assert source in readme


def test_what_a_licence_of_debians_refers_to_is_in_the_layer(runtime: Path) -> None:
    there = texts(runtime)
    named = {
        reference.rstrip(".")
        for name, text in there.items()
        if name.startswith("supervisor/licences/")
        for reference in re.findall(r"/usr/share/common-licenses/([\w.-]+)", text)
    }

    assert {"GPL-2", "LGPL-2.1"} <= named
    assert [name for name in named if f"supervisor/licences/common/{name}" not in there] == []


def may_be_used(expression: str, texts: set[str]) -> bool:
    """Whether one of the choices that an SPDX expression leaves is a licence whose text is there."""

    def allowed(node: Any) -> bool:
        if isinstance(node, LicenseWithExceptionSymbol):
            return allowed(node.license_symbol) and allowed(node.exception_symbol)
        if isinstance(node, LicenseSymbol):
            return node.key in texts
        return (any if node.operator.strip() == "OR" else all)(allowed(each) for each in node.args)

    return allowed(get_spdx_licensing().parse(expression))


def sbom(runtime: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((runtime.parent / "sbom.json").read_text())
    return document


def components(runtime: Path, kind: str, name: str | None = None) -> list[dict[str, Any]]:
    """The parts of one kind: deb, pypi or cargo."""
    found = [part for part in sbom(runtime)["components"] if part["purl"].startswith(f"pkg:{kind}/")]
    return [part for part in found if name in (None, part["name"])]


def texts(runtime: Path) -> dict[str, str]:
    """Every licence and every wheel's metadata in the layer, by its path there."""
    found = {}
    with tarfile.open(runtime) as archive:
        for entry in archive:
            if entry.isreg() and ("/licences/" in entry.name or ".dist-info/" in entry.name):
                file = archive.extractfile(entry)
                assert file is not None
                found[entry.name] = file.read().decode(errors="replace")
    return found
