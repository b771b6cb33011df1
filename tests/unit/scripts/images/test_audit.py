"""Known vulnerabilities of the runtime layer, from databases as OSV and Debian have them, served on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from scripts import cli
from scripts.images.audit import crate_findings, debian_findings, python_findings
from supervisor.failures import PassingTrouble

NOWHERE = "http://127.0.0.1:9/"  # the discard port: nobody listens

# As OSV answers, shortened: https://ossf.github.io/osv-schema/
REQUESTS_LEAK = {
    "schema_version": "1.6.0",
    "id": "PYSEC-2023-74",
    "aliases": ["CVE-2023-32681", "GHSA-j8r2-6x86-q33q"],
    "details": "Requests has been leaking Proxy-Authorization headers to destination servers.",
    "published": "2023-05-26T18:15:00Z",
    "modified": "2023-06-05T01:13:00Z",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "requests", "purl": "pkg:pypi/requests"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "2.3.0"}, {"fixed": "2.31.0"}]}],
        }
    ],
}


def entry(description: str = "what is wrong", **release: Any) -> dict[str, Any]:
    """One vulnerability as Debian's tracker tells it, with its state in bookworm."""
    return {
        "description": description,
        "scope": "local",
        "releases": {
            "bookworm": {"urgency": "not yet assigned", "repositories": {"bookworm": "2.36-9+deb12u7"}, **release},
            "sid": {"status": "resolved", "fixed_version": "2.40-1", "urgency": "not yet assigned"},
        },
    }


LOCK = """\
# name  version  sha256  use  path  licence
libc6 2.36-9+deb12u2 00 layer pool/main/g/glibc/libc6_2.36-9+deb12u2_amd64.deb LGPL-2.1-or-later
zlib1g 1:1.2.13.dfsg-1 00 layer pool/main/z/zlib/zlib1g_1.2.13.dfsg-1_amd64.deb Zlib
tcc 0.9.27-1 00 build pool/main/t/tcc/tcc_0.9.27-1_amd64.deb LGPL-2.1-or-later
"""
LOONEY = {"glibc": {"CVE-2023-4911": entry(status="resolved", fixed_version="2.36-9+deb12u3")}}


@dataclass
class Databases:
    """OSV and Debian's tracker at one address."""

    address: str
    osv: dict[str, list[Any]] = field(default_factory=dict)
    tracker: Mapping[str, Any] = field(default_factory=lambda: {"glibc": {}})
    asked: list[Any] = field(default_factory=list)


@pytest.fixture
def databases() -> Iterator[Databases]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.asked.append(query)
            found = served.osv.get(query["package"]["name"])
            self._answer({"vulns": found} if found else {})

        def do_GET(self) -> None:
            self._answer(served.tracker)

        def _answer(self, told: Mapping[str, Any]) -> None:
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Databases(address=f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield served
        server.shutdown()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "debian.lock"
    path.write_text(LOCK)
    return path


def tracker(tmp_path: Path, told: object) -> str:
    path = tmp_path / "tracker.json"
    path.write_text(json.dumps(told))
    return str(path)


# Wheels.


def test_a_wheel_with_a_known_vulnerability_is_found_with_its_fix(databases: Databases, tmp_path: Path) -> None:
    databases.osv = {"requests": [REQUESTS_LEAK]}
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"requests==2.30.0 --hash=sha256:{'0' * 64}\n")

    (found,) = python_findings(requirements, f"{databases.address}/v1/query")

    assert (found.package, found.version, found.id, found.fixed) == ("requests", "2.30.0", "PYSEC-2023-74", "2.31.0")
    assert databases.asked == [{"package": {"name": "requests", "ecosystem": "PyPI"}, "version": "2.30.0"}]


def test_an_unreachable_osv_is_passing_trouble_in_one_line(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"requests==2.30.0 --hash=sha256:{'0' * 64}\n")

    with pytest.raises(PassingTrouble, match="could not be asked"):
        list(python_findings(requirements, NOWHERE))


# Crates.

RUSTSEC = {
    "id": "RUSTSEC-2024-0332",
    "aliases": ["CVE-2024-2758", "GHSA-q6cp-qfwq-4gcv"],
    "summary": "Degradation of service in h2 servers with CONTINUATION Flood",
    "affected": [
        {
            "package": {"ecosystem": "crates.io", "name": "h2", "purl": "pkg:cargo/h2"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.0.0-0"}, {"fixed": "0.4.4"}]}],
            "database_specific": {"informational": None},
        }
    ],
}
UNMAINTAINED = {
    "id": "RUSTSEC-2024-0436",
    "summary": "paste - no longer maintained",
    "affected": [{"package": {"name": "paste"}, "ranges": [], "database_specific": {"informational": "unmaintained"}}],
}


def test_a_crate_with_an_advisory_is_found_once_with_its_fix(databases: Databases, tmp_path: Path) -> None:
    (tmp_path / "crates.lock").write_text("# crates\nh2 0.4.3\npaste 1.0.15\n")
    github = {**RUSTSEC, "id": "GHSA-q6cp-qfwq-4gcv", "aliases": ["CVE-2024-2758", "RUSTSEC-2024-0332"]}
    databases.osv = {"h2": [github, RUSTSEC], "paste": [UNMAINTAINED]}

    flood, paste = crate_findings(tmp_path / "crates.lock", f"{databases.address}/v1/query")

    assert (flood.package, flood.version, flood.id, flood.fixed, flood.counts) == (
        "h2", "0.4.3", "RUSTSEC-2024-0332", "0.4.4", True,
    )  # fmt: skip
    assert (paste.id, paste.counts) == ("RUSTSEC-2024-0436", False)
    assert {"package": {"name": "h2", "ecosystem": "crates.io"}, "version": "0.4.3"} in databases.asked


def test_an_unreachable_osv_is_passing_trouble_for_crates_too(tmp_path: Path) -> None:
    (tmp_path / "crates.lock").write_text("h2 0.4.3\n")

    with pytest.raises(PassingTrouble, match="could not be asked"):
        list(crate_findings(tmp_path / "crates.lock", NOWHERE))


# Debian's packages.


def test_a_package_older_than_the_fix_is_found(lock: Path, tmp_path: Path) -> None:
    (found,) = debian_findings(lock, tracker(tmp_path, LOONEY))

    assert str(found) == "glibc 2.36-9+deb12u2: CVE-2023-4911, fixed in 2.36-9+deb12u3: what is wrong"
    assert found.counts


@pytest.mark.parametrize(
    "release",
    [
        {"status": "resolved", "fixed_version": "2.36-9+deb12u2"},
        {"status": "resolved", "fixed_version": "2.36-9"},
        {"status": "resolved", "fixed_version": "0", "nodsa": "was never there"},
    ],
    ids=["just fixed", "long fixed", "never affected"],
)
def test_what_is_fixed_in_the_lock_is_no_finding(release: dict[str, Any], lock: Path, tmp_path: Path) -> None:
    assert list(debian_findings(lock, tracker(tmp_path, {"glibc": {"CVE-1": entry(**release)}}))) == []


@pytest.mark.parametrize(
    ("release", "counts"),
    [
        ({"status": "open"}, True),
        ({"status": "open", "nodsa": "Minor issue", "nodsa_reason": ""}, False),
        ({"status": "open", "urgency": "unimportant"}, False),
        ({"status": "undetermined"}, False),
    ],
    ids=["open", "minor", "unimportant", "undetermined"],
)
def test_what_has_no_fix_counts_unless_debian_thinks_it_minor(
    release: dict[str, Any], counts: bool, lock: Path, tmp_path: Path
) -> None:
    (found,) = debian_findings(lock, tracker(tmp_path, {"glibc": {"CVE-1": entry(**release)}}))

    assert (found.fixed, found.counts) == (None, counts)


def test_other_releases_and_build_tools_are_left_out(lock: Path, tmp_path: Path) -> None:
    elsewhere = {"description": "x", "releases": {"trixie": {"status": "open", "urgency": "high"}}}

    told = {"glibc": {"CVE-1": elsewhere}, "tcc": {"CVE-2": entry(status="open")}}
    assert list(debian_findings(lock, tracker(tmp_path, told))) == []


@pytest.mark.parametrize("told", [{}, [], {"error": "down for maintenance"}])
def test_what_is_not_the_tracker_is_not_taken_for_it(told: object, lock: Path, tmp_path: Path) -> None:
    with pytest.raises(PassingTrouble, match="not Debian's security tracker"):
        list(debian_findings(lock, tracker(tmp_path, told)))


# The command.


def run(databases: Databases, *more: str) -> int:
    return cli.main(
        ["audit", "--osv-url", f"{databases.address}/v1/query", "--debian-tracker", databases.address, *more]
    )


def test_nothing_known_is_0(databases: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(databases) == 0
    assert capsys.readouterr().out == "The runtime layer: 0 known vulnerabilities, 0 to look at.\n"
    assert {query["package"]["name"] for query in databases.asked} >= {"boto3", "requests", "urllib3", "object_store"}


def test_a_finding_is_65_and_says_what_to_do(databases: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    databases.tracker = {"glibc": {}, "openssl": {"CVE-1": entry(status="resolved", fixed_version="99.0-1")}}

    assert run(databases) == 65
    assert "fixed in 99.0-1" in (said := capsys.readouterr().out)
    assert "images/runtime/lock" in said


def test_an_accepted_finding_is_left_out(databases: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    databases.tracker = {"glibc": {"CVE-1": entry(status="open")}}

    assert run(databases, "--json", "--ignore", "CVE-1") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_findings_come_as_json_too(databases: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    databases.tracker = {"glibc": {"CVE-1": entry(status="open", nodsa="Minor issue")}}

    assert run(databases, "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["package"], told["id"], told["fixed"], told["counts"]) == ("glibc", "CVE-1", None, False)


def test_no_network_is_75_in_one_line(databases: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", "--osv-url", f"{databases.address}/v1/query", "--debian-tracker", NOWHERE]) == 75

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"deepaas-batch audit: Debian's security tracker at {NOWHERE} cannot be read")
    assert "name mirrors" in line
