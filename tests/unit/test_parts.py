from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from overnight.failures import PartRefused
from overnight.parts import PART_SCHEMA, is_whole, read_part, write_part

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
