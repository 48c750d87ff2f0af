from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from overnight.failures import PartRefused
from overnight.parts import PART_SCHEMA, is_whole, read_columns, read_part, write_columns, write_part

ROWS: list[dict[str, Any]] = [
    {"row_id": "1", "row_number": 1, "input": '{"body":"a"}', "state": "pending"},
    {"row_id": "2", "row_number": 2, "input": None, "state": "quarantined", "failure_class": "empty_id"},
]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_same_rows_are_the_same_part(home: Path) -> None:
    assert write_part(ROWS, home) == write_part([dict(row) for row in ROWS], home)
    assert len(_files(home)) == 1


def test_other_rows_are_another_part(home: Path) -> None:
    assert write_part(ROWS, home).digest != write_part(ROWS[:1], home).digest


def test_rows_come_back_whole_and_in_order(home: Path) -> None:
    table = read_part(write_part(ROWS, home), home)
    assert table.schema == PART_SCHEMA
    assert [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()] == [
        {k: v for k, v in row.items() if v is not None} for row in ROWS
    ]


def test_columns_are_the_same_part_as_their_rows(home: Path) -> None:
    given = {name: [row.get(name) for row in ROWS] for name in ("row_id", "row_number", "input", "state")}
    part = write_columns(given | {"failure_class": [None, "empty_id"]}, home)
    assert part == write_part(ROWS, home)
    assert part == write_columns(given | {"input": [b'{"body":"a"}', None], "failure_class": [None, "empty_id"]}, home)
    columns = read_columns(part, home)
    assert list(columns) == PART_SCHEMA.names
    assert (columns["row_number"], columns["input"], columns["output"]) == ([1, 2], ['{"body":"a"}', None], [None] * 2)


def test_no_rows_are_a_part(home: Path) -> None:
    assert read_part(write_part([], home), home).to_pylist() == []


def test_writing_and_reading_do_without_pandas(home: Path) -> None:
    # It takes a quarter of a second, which a run of a few rows would pay.
    code = (
        "import sys; from pathlib import Path; from overnight.parts import read_columns, write_part\n"
        f"read_columns(write_part({ROWS!r}, Path({str(home)!r})), Path({str(home)!r}))\n"
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_part_is_refused_by_name(home: Path) -> None:
    part = write_part(ROWS, home)
    (home / part.path).unlink()
    assert not is_whole(part, home)
    with pytest.raises(PartRefused, match=rf"{part.path} cannot be read .*Run the flow again"):
        read_part(part, home)


def test_a_part_with_one_bit_flipped_is_refused_by_name(home: Path) -> None:
    part = write_part(ROWS, home)
    data = bytearray((home / part.path).read_bytes())
    data[len(data) // 2] ^= 1
    (home / part.path).write_bytes(data)
    assert not is_whole(part, home)
    with pytest.raises(PartRefused, match=f"{part.path} was altered"):
        read_part(part, home)


def test_writing_again_mends_an_altered_part(home: Path) -> None:
    part = write_part(ROWS, home)
    (home / part.path).write_bytes(b"cut off")
    assert write_part(ROWS, home) == part
    assert is_whole(part, home)


def test_an_interrupted_write_leaves_no_file_under_the_part_s_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(fd: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_part(ROWS, home)
    assert not list(home.rglob("*.parquet"))
    assert is_whole(write_part(ROWS, home), home)


def test_a_part_that_cannot_be_written_is_refused_by_name_and_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(PartRefused, match=r"\.parquet cannot be written \(No space left on device\)\. Make room"):
        write_part(ROWS, home)
    assert _files(home) == []
