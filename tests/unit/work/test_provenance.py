"""What results record of their input, model and arguments, and which of them that makes up to date."""

import pytest

from supervisor import job
from supervisor.storage import Object
from supervisor.work.inputs import Input
from supervisor.work.plan import Item
from supervisor.work.provenance import Provenance

MODEL = "image@sha256:1"
Files = dict[str | None, str]


def item(files: Files) -> tuple[Item, Object]:
    """An item of these S3 objects by their fields, each with an ETag that is its key; None: the job's own field."""
    (field, first), *others = files.items()
    made = Item(
        index=0, uri=f"s3://b/{first}", field=field, relative="x", output="s3://b/out/",
        others=tuple(Input(uri=f"s3://b/{key}", field=each) for each, key in others),
    )  # fmt: skip
    return made, made.as_one([Object(uri=f"s3://b/{key}", size=1, etag=key) for key in files.values()])


def provenance(**variables: str) -> Provenance:
    spec = job.read({"JOB_MANIFEST": "s3://b/list", "JOB_OUTPUT": "s3://b/out/", **variables}, {})
    return Provenance(spec, lambda: MODEL)


def stands(one: Files, other: Files, **variables: str) -> bool:
    """Whether the result of one call is that of the other one; its metadata and its voucher say the same."""
    of = provenance(**variables)
    made = of.facts(*item(one), None, None, "worker", 1.0)
    stands = of.is_of_this(*item(other), made)
    assert stands == (
        of.voucher(*item(one), "s3://b/out/x.json", "e") == of.voucher(*item(other), "s3://b/out/x.json", "e")
    )
    return stands


def test_the_order_of_a_lines_files_does_not_count() -> None:
    assert stands({"image": "1", "audio": "2"}, {"audio": "2", "image": "1"})
    assert stands({None: "1", "audio": "2"}, {None: "1", "audio": "2"}, JOB_INPUT_FIELD="image")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"image": "1", "audio": "2"}, {"image": "2", "audio": "1"}),
        ({"image": "1", "audio": "2"}, {"image": "1", "video": "2"}),
        ({"image": "1", "audio": "2"}, {"image": "1"}),
        ({"image": "1", "audio": "2"}, {"image": "1", "audio": "2", "video": "3"}),
        ({"image": "1"}, {"audio": "1"}),
        ({None: "1"}, {"audio": "1"}),
        ({None: "1", "audio": "2"}, {"audio": "1", "image": "2"}),
    ],
)
def test_another_file_or_field_is_another_input(one: Files, other: Files) -> None:
    assert not stands(one, other, JOB_INPUT_FIELD="image")
    assert not stands(other, one, JOB_INPUT_FIELD="image")


def test_a_version_that_an_event_names_is_the_one_that_counts() -> None:
    of = provenance()
    line, _ = item({None: "1"})
    versions = {each: Object(uri=line.uri, size=1, etag="1", version=each) for each in ("v1", "v2", None)}
    made = of.facts(line, versions["v1"], None, None, "worker", 1.0)
    assert [each for each, found in versions.items() if of.is_of_this(line, found, made)] == ["v1", None]


SIGNED = "X-Amz-Date=1&X-Amz-Signature=2"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("get?id=1", "get?id=2", False),
        ("get?id=1", "get", False),
        ("get?sp=1", "get?sp=2", False),
        ("get?id=1", "get?id=1", True),
        (f"get?{SIGNED}", "get?X-Amz-Date=3&X-Amz-Signature=4", True),
        (f"get?{SIGNED}", "get", True),
        (f"get?versionId=1&{SIGNED}", f"get?versionId=2&{SIGNED}", False),
        ("get?sp=r&se=1&sig=2", "get?sp=r&se=3&sig=4", True),
    ],
)
def test_a_web_addresss_query_counts_for_what_it_names_and_not_for_what_signs_it(
    one: str, other: str, same: bool
) -> None:
    """Of servers that tell a date alone all files of a moment look alike."""
    of = provenance()
    found = Object(uri="", size=1, etag="Wed, 25 Nov 2026 10:00:00 GMT")

    def made(address: str, *others: Input) -> Item:
        uri = f"https://host/{address}"
        return Item(index=0, uri=uri, relative="get", output="s3://b/out/", others=others)

    assert of.is_of_this(made(other), found, of.facts(made(one), found, None, None, "worker", 1.0)) == same
    beside = Input(uri="s3://b/x", field="audio")
    both = [made(each, beside).as_one([found, found]).etag for each in (one, other)]
    assert (both[0] == both[1]) == same
