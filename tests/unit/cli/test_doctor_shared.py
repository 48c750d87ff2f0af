"""The doctor tries what machines share, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from overnight.cli.doctor.shared import look_at_dask, look_at_place
from overnight.settings import Settings
from tests.fakes.s3 import FakeS3, Trouble
from tests.fakes.shared import serve_parts


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeS3]:
    with serve_parts(tmp_path_factory.mktemp("aws")) as server:
        yield server


def test_where_nothing_is_shared_nothing_is_said(settings: Settings) -> None:
    assert [*look_at_place(settings), *look_at_dask(settings)] == []


def test_a_folder_is_written_to_and_left_as_it_was(settings: Settings, tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    [found] = look_at_place(replace(settings, parts_url=f"file://{share}"))
    assert (found.level, list(share.iterdir())) == ("ok", [])


def test_a_folder_that_is_not_there_is_a_warning_and_is_not_made(settings: Settings, tmp_path: Path) -> None:
    [found] = look_at_place(replace(settings, parts_url=f"file://{tmp_path}/share"))
    assert (found.level, (tmp_path / "share").exists()) == ("warn", False)


def test_a_place_that_cannot_be_written_to_fails(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    [found] = look_at_place(replace(settings, parts_url=f"file://{tmp_path}/file"))
    assert (found.level, "cannot be written" in found.said) == ("fail", True)


def test_a_store_is_written_to_and_left_as_it_was(settings: Settings, s3: FakeS3) -> None:
    s3.forget()
    [found] = look_at_place(replace(settings, parts_url=f"s3://bucket-{os.getpid()}/doctor"))
    assert (found.level, s3.objects) == ("ok", {})
    assert [(a.method, "/parts/" in a.path) for a in s3.asked if a.method in ("PUT", "GET")] == [
        ("PUT", False),
        ("GET", False),
    ]


@pytest.mark.parametrize(("method", "done"), [("PUT", "written"), ("GET", "read"), ("DELETE", "deleted")])
def test_a_store_that_refuses_one_of_the_three_fails(settings: Settings, s3: FakeS3, method: str, done: str) -> None:
    s3.forget()
    s3.troubles = [Trouble(method, status=403, code="AccessDenied") for _ in range(4)]
    [found] = look_at_place(replace(settings, parts_url=f"s3://bucket-{os.getpid()}/doctor"))
    assert (found.level, f"cannot be {done} in s3://" in found.said) == ("fail", True)
    assert len(s3.objects) == (method == "DELETE")
    s3.forget()


def test_a_scheduler_that_listens_is_told_as_that_alone(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        named = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        [found] = look_at_dask(replace(settings, dask=named))
    assert (found.level, found.said.startswith(f"somebody listens at {named};")) == ("ok", True)
    [found] = look_at_dask(replace(settings, dask=named))
    assert (found.level, "no scheduler can be reached" in found.said) == ("fail", True)


@pytest.mark.parametrize(("named", "level"), [("local:2", "ok"), ("here", "fail"), ("tcp://127.0.0.1:99999", "fail")])
def test_what_names_no_cluster_fails(settings: Settings, named: str, level: str) -> None:
    [found] = look_at_dask(replace(settings, dask=named))
    assert found.level == level
