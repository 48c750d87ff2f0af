from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from overnight.failures import PartMissing, PartRefused, PlaceUnreachable
from overnight.parts import PART_SCHEMA, find_row, is_whole, read_part, verify_part, write_part
from overnight.parts.objects import delete_if_old, list_parts
from overnight.place import PartsPlace, open_place
from overnight.records import Part
from tests.fakes.s3 import FakeS3, Trouble
from tests.fakes.shared import serve_parts

ROWS: list[dict[str, Any]] = [
    {"row_id": "1", "row_number": 1, "input": '{"body":"a"}', "state": "pending"},
    {"row_id": "2", "row_number": 2, "input": None, "state": "quarantined", "failure_class": "empty_id"},
]
_folders = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeS3]:
    with serve_parts(tmp_path_factory.mktemp("aws")) as server:
        yield server


@pytest.fixture(scope="module")
def bucket(server: FakeS3) -> PartsPlace:
    """One for all tests: a client of s3 takes long to make."""
    return open_place(f"s3://bucket-{os.getpid()}/night")


@pytest.fixture
def s3(server: FakeS3) -> FakeS3:
    server.forget()
    return server


class Kept:
    """A place, with what a test does to its bytes behind its back."""

    def __init__(self, place: PartsPlace, s3: FakeS3) -> None:
        self.place, self._s3 = place, s3

    def list_names(self) -> list[str]:
        if isinstance(self.place, Path):
            return [path.name for path in self.place.rglob("*") if path.is_file()]
        return list(self._s3.objects)

    def put(self, part: Part, data: bytes) -> None:
        if isinstance(self.place, Path):
            (self.place / part.path).write_bytes(data)
        else:
            self._s3.objects[f"{self.place.path}/{part.path}"] = data

    def lose(self, part: Part) -> None:
        if isinstance(self.place, Path):
            (self.place / part.path).unlink()
        else:
            del self._s3.objects[f"{self.place.path}/{part.path}"]


@pytest.fixture(params=["folder", "s3"])
def kept(request: pytest.FixtureRequest, s3: FakeS3, bucket: PartsPlace, tmp_path: Path) -> Kept:
    return Kept(bucket if request.param == "s3" else open_place(f"file://{tmp_path}/share"), s3)


def test_the_same_rows_are_the_same_part_wherever_it_is(kept: Kept, home: Path) -> None:
    part = write_part(ROWS, kept.place)
    assert part == write_part(ROWS, kept.place) == write_part(ROWS, home)
    assert part.path == f"parts/{part.digest[:2]}/{part.digest}.parquet"
    assert len(kept.list_names()) == 1
    assert read_part(part, kept.place).schema == PART_SCHEMA
    assert read_part(part, kept.place).to_pylist() == read_part(part, home).to_pylist()


def test_a_row_is_found_by_a_value_of_its_column(kept: Kept) -> None:
    part = write_part(ROWS, kept.place)
    assert [find_row(part, kept.place, "row_id", value) for value in ("2", "3")] == [1, None]


def test_a_part_that_is_missing_is_told_from_one_that_was_altered(kept: Kept) -> None:
    part = write_part(ROWS, kept.place)
    assert is_whole(part, kept.place)
    kept.put(part, b"other bytes")
    assert not is_whole(part, kept.place)
    with pytest.raises(PartRefused, match=f"{part.path} was altered"):
        verify_part(part, kept.place)
    kept.lose(part)
    assert not is_whole(part, kept.place)
    with pytest.raises(PartMissing, match=f"{part.path} .*Run the flow again"):
        read_part(part, kept.place)


def test_writing_again_mends_an_altered_part(kept: Kept) -> None:
    part = write_part(ROWS, kept.place)
    kept.put(part, b"cut off")
    assert write_part(ROWS, kept.place) == part
    verify_part(part, kept.place)


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_process_that_is_killed_while_it_writes_leaves_no_half_part(kind: str, s3: FakeS3, tmp_path: Path) -> None:
    url = f"file://{tmp_path}" if kind == "folder" else "s3://killed/night"
    code = (
        "from overnight.parts import write_part; from overnight.place import open_place\n"
        f"write_part({ROWS!r}, open_place({url!r}))"
    )
    orders = os.environ | {"OVERNIGHT_FAILPOINT": "before-part"}
    killed = subprocess.run([sys.executable, "-c", code], env=orders, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert s3.objects == {}
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_put_that_is_cut_off_leaves_nothing_and_is_sent_again(s3: FakeS3, bucket: PartsPlace) -> None:
    s3.troubles.append(Trouble("PUT"))
    verify_part(write_part(ROWS, bucket), bucket)
    assert s3.list_methods() == ["PUT", "PUT", "GET"]


def test_an_answer_that_is_lost_is_asked_for_again(s3: FakeS3, bucket: PartsPlace) -> None:
    s3.troubles += [Trouble("PUT", 500, is_done=True), Trouble("GET", 503)]
    verify_part(write_part(ROWS, bucket), bucket)
    assert s3.list_methods() == ["PUT", "PUT", "GET", "GET"]


@pytest.mark.parametrize("trouble", [Trouble("GET", 403, code="AccessDenied"), Trouble("GET", 500)])
def test_a_store_that_refuses_makes_no_part_count_as_lost(s3: FakeS3, bucket: PartsPlace, trouble: Trouble) -> None:
    part = write_part(ROWS, bucket)
    for ask in (is_whole, read_part, verify_part):
        s3.troubles = [trouble] * 9
        with pytest.raises(PlaceUnreachable, match=rf"^Part {part.path} cannot be read in s3://.*Mend the network.*$"):
            ask(part, bucket)
        s3.troubles = []


def test_a_bucket_that_is_not_there_is_no_missing_part(s3: FakeS3, bucket: PartsPlace) -> None:
    part = write_part(ROWS, bucket)
    s3.missing_buckets.add(f"bucket-{os.getpid()}")
    with pytest.raises(PlaceUnreachable, match="bucket does not exist"):
        is_whole(part, bucket)
    with pytest.raises(PlaceUnreachable, match="cannot be written in s3://"):
        write_part(ROWS, bucket)


def test_a_part_that_was_used_meanwhile_is_not_deleted(s3: FakeS3, bucket: Any) -> None:
    part, unused = write_part(ROWS, bucket), write_part(ROWS[:1], bucket)
    s3.put_at = dict.fromkeys(s3.objects, 1000.0)
    found = list(list_parts(bucket))
    assert {put.put_at for put in found} == {1000.0}
    assert {put.path for put in found} == {bucket / part.path, bucket / unused.path}
    assert is_whole(part, bucket)
    for put in found:
        delete_if_old(put.path, put_at=put.put_at)
    verify_part(part, bucket)
    assert not is_whole(unused, bucket)
