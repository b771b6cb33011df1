"""The answers of all children in one Parquet file, for pandas, DuckDB, Athena and the like."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from scripts import whole_file
from scripts.report.places import Source, opened_ahead
from scripts.report.reading import Faults, rows
from scripts.report.status import Malformed, Row, row
from supervisor.failures import BadUsage

STAGES = ("download", "predict", "upload")
# Rows in one group, which is held in memory: a thousand answers of a megabyte, the longest there are in a table.
_GROUP = 1_000


def write(place: Source, names: Iterable[str], path: Path, faults: Faults) -> int:
    """Writes the lines of the results tables `names`, in their order, as rows; returns how many.

    Columns: input, result, etag, bytes, seconds.download, seconds.predict, seconds.upload, answer (JSON text; null
    where the table leaves an answer out, which is then in the result alone). Lines that cannot be used go to `faults`.
    Raises BadUsage without pyarrow, OutputUnwritable.
    """
    arrow, parquet = _pyarrow()
    schema = arrow.schema(
        [
            *((name, arrow.string()) for name in ("input", "result", "etag")),
            ("bytes", arrow.int64()),
            *((f"seconds.{stage}", arrow.float64()) for stage in STAGES),
            ("answer", arrow.string()),
        ]
    )
    written = 0
    found = (_cells(each) for each in _rows(place, names, faults))
    with whole_file.replacing(path) as part, parquet.ParquetWriter(part, schema, compression="zstd") as file:
        while group := list(islice(found, _GROUP)):
            file.write_table(arrow.Table.from_pylist(group, schema=schema))
            written += len(group)
    return written


def _rows(place: Source, names: Iterable[str], faults: Faults) -> Iterator[Row]:
    for name, file in opened_ahead(place, names):
        for number, told in rows(name, file, faults):
            try:
                yield row(told)
            except Malformed as error:
                faults.add("line", f"{name}, line {number}", str(error))


def _cells(found: Row) -> dict[str, Any]:
    return {
        "input": _utf8(found.input),
        "result": _utf8(found.result),
        "etag": None if found.etag is None else _utf8(found.etag),
        "bytes": found.size,
        **{f"seconds.{stage}": found.seconds.get(stage) for stage in STAGES},
        "answer": None if found.left_out else _utf8(json.dumps(found.answer, ensure_ascii=False)),
    }


def _utf8(text: str) -> str:
    r"""Half a surrogate pair, which JSON can hold and UTF-8 cannot, stays as the \udXXX that JSON writes."""
    return text.encode(errors="backslashreplace").decode()


def _pyarrow() -> tuple[Any, Any]:
    """Imported where it is asked for alone: the report without it takes a second less, and 100 MB of packages."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise BadUsage("a Parquet file needs pyarrow, which is not installed", "pip install -e '.[host]'") from None
    return pyarrow, parquet
