"""Several inputs of one item: what storage says of all of them together."""

import pytest

from supervisor.storage import Object
from supervisor.work.inputs import Input, as_one
from supervisor.work.plan import Item

Seen = tuple[str | None, int | None, str | None]


def together(**seen: Seen) -> Object:
    """Of inputs by their fields, each with ETag, size and version."""
    inputs = [Input(uri=f"s3://b/{field}", field=field) for field in seen]
    found = [
        Object(uri=f"s3://b/{f}", etag=etag, size=size, version=version) for f, (etag, size, version) in seen.items()
    ]
    return as_one(inputs, found)


def test_one_input_is_as_storage_sees_it() -> None:
    found = Object(uri="s3://b/x", size=3, etag="e", version="v", media_type="audio/wav")
    assert Item(index=0, uri="s3://b/x", relative="x", output="s3://b/out/").as_one([found]) is found


def test_the_identity_is_that_of_all_whatever_their_order() -> None:
    assert together(a=("1", 3, None), b=("2", 4, None)) == Object(uri="s3://b/a", size=7, etag="1 2")
    assert together(b=("2", 4, None), a=("1", 3, None)).etag == "1 2"
    assert together(a=("2", 3, None), b=("1", 4, None)).etag == "2 1"


def test_what_one_lacks_all_lack_but_for_versions() -> None:
    assert together(a=(None, 3, None), b=("2", None, None)) == Object(uri="s3://b/a", size=None, etag=None)
    assert together(a=("1", 3, "v"), b=("2", 4, None)).version == "v -"


@pytest.mark.parametrize("count", [2, 15, 16, 400])
def test_the_identity_of_many_fits_into_an_objects_metadata(count: int) -> None:
    etags = {f"f{number:03}": (f"{number:032}", 1, None) for number in range(count)}
    first, again = together(**etags).etag, together(**etags).etag
    assert first == again
    assert len(first or "") <= 512
    assert together(**{**etags, "f001": ("other", 1, None)}).etag != first


def test_files_that_only_look_alike_are_told_apart_by_their_places() -> None:
    """S3's ETags are of the content; what stands for one elsewhere is of size and date, and may be another file's."""

    def etag(*uris: str) -> str | None:
        inputs = [Input(uri=uri, field=field) for field, uri in zip("ab", uris, strict=True)]
        return as_one(inputs, [Object(uri=uri, size=1, etag="e") for uri in uris]).etag

    for places in (("/in/1", "/in/2"), ("file:///in/1", "file:///in/2"), ("https://host/1", "https://host/2")):
        one, other = places
        assert len({etag(one, one), etag(one, other), etag(other, one), etag(other, other)}) == 4
    assert etag("https://host/1?X-Amz-Signature=1", "s3://b/x") == etag("https://host/1?X-Amz-Signature=2", "s3://b/y")
    assert "host" not in str(etag("https://host/1", "https://host/2"))
