"""The tables in the documents say what the code says."""

from scripts.docs import tables


def test_every_generated_table_is_up_to_date() -> None:
    stale = [path.name for path, text in tables.documents().items() if path.read_text() != text]
    assert not stale, "run `make docs`"
