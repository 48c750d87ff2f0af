"""`python -m benchmarks.processes.source PATH N [EVERY]`: a parquet file of N rows; every EVERYth text is changed."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.rows import make_text

_ROWS_AT_ONCE = 10_000


def write_source(path: Path, n_rows: int, changed_every: int = 0) -> None:
    """Rows 1 to N, a few at a time."""
    with pq.ParquetWriter(path, pa.schema([("id", pa.string()), ("text", pa.string())])) as file:
        for start in range(1, n_rows + 1, _ROWS_AT_ONCE):
            numbers = range(start, min(start + _ROWS_AT_ONCE, n_rows + 1))
            texts = [make_text(n) + ("!" if changed_every and n % changed_every == 0 else "") for n in numbers]
            file.write_table(pa.table({"id": [str(n) for n in numbers], "text": texts}))


if __name__ == "__main__":
    write_source(Path(sys.argv[1]), *map(int, sys.argv[2:]))
