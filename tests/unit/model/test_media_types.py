"""The extensions that results may have: those that a result is looked for with."""

import mimetypes

import pytest

from supervisor.model.media_types import is_suffix, suffix_for, suffixes_for


def test_every_type_that_python_knows_gets_an_extension_that_is_looked_for() -> None:
    types = {*mimetypes.MimeTypes().types_map[True].values(), "application/x-nobody-knows", "text/plain; charset=utf-8"}
    for media_type in types:
        assert is_suffix(suffix_for(media_type))
        assert suffixes_for(media_type)[0] == suffix_for(media_type)
        assert all(map(is_suffix, suffixes_for(media_type)))


@pytest.mark.parametrize("suffix", [".h5", ".7z", ".c++", ".tfrecord", ".nc", ".mp3"])
def test_an_extension_with_a_letter_may_be_a_results(suffix: str) -> None:
    assert is_suffix(suffix)


@pytest.mark.parametrize("suffix", ["", ".", ".001", ".JSON", ".a b", ".a/b", ".a.b", ".ö", "json", ".a\n"])
def test_a_number_or_what_no_result_is_named_with_is_none(suffix: str) -> None:
    assert not is_suffix(suffix)


def test_a_type_whose_only_extension_is_a_number_is_stored_as_one_that_nobody_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mimetypes, "guess_extension", lambda _: ".123")
    assert suffix_for("application/vnd.lotus-1-2-3") == ".bin"
