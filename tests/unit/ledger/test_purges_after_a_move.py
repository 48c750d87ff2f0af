"""A purge of parts that lie in the home still, from before they moved to another place; on SQLite and on Postgres."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from overnight.place import PartsPlace
from overnight.purge import Purged, describe_purge, purge
from tests.conftest import RUN
from tests.unit.ledger.nights import SAID, TEXTS, Nights


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return tmp_path / "share"


def _purge(nights: Nights, place: PartsPlace) -> Purged:
    return purge(nights.house.ledger, nights.house.home, place, before=1000.0, by="Ada")


def _list_parts(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.parquet")}


def test_old_parts_that_were_not_copied_go_with_what_was_said_of_them(nights: Nights, share: Path) -> None:
    nights.publish()
    nights.make_old()
    n_parts = len(_list_parts(nights.house.home))
    done = _purge(nights, share)
    assert done.counts["parts"] == n_parts > 0
    assert _list_parts(nights.house.home) == set()
    assert nights.list_left() == []


def test_of_parts_that_were_copied_the_old_ones_go_and_what_was_said_of_them_stays(nights: Nights, share: Path) -> None:
    nights.publish()
    nights.make_old()
    shutil.copytree(nights.house.home / "parts", share / "parts", copy_function=shutil.copyfile)
    moved = _list_parts(share)
    done = _purge(nights, share)
    assert ("parts" in done.counts, done.counts["copies"]) == (False, len(moved))
    assert any("copies of parts, where they were" in line for line in describe_purge(done))
    assert (_list_parts(nights.house.home), _list_parts(share)) == (set(), moved)
    # A run that comes to use the part again hears what its checks said.
    assert nights.count(f"parts WHERE manifest LIKE '%{SAID}%'") == 1


def test_parts_in_the_home_of_runs_that_are_left_whole_stay_there(nights: Nights, share: Path) -> None:
    nights.ask(TEXTS, RUN)
    nights.make_old()
    wanted = _list_parts(nights.house.home)
    old = nights.house.home / "parts" / "ab" / f"{'ab' * 32}.parquet"
    old.parent.mkdir(exist_ok=True)
    old.write_bytes(b"of a run that is gone")
    os.utime(old, (2, 2))
    young = old.with_name(f"{'cd' * 32}.parquet")
    young.write_bytes(b"of a run that has not said so yet")
    assert _purge(nights, share).counts["parts"] == 1
    assert _list_parts(nights.house.home) == wanted | {young.name}


def test_a_url_of_the_home_itself_is_no_move(nights: Nights, tmp_path: Path) -> None:
    nights.publish()
    nights.make_old()
    n_parts = len(_list_parts(nights.house.home))
    (tmp_path / "same").symlink_to(nights.house.home)
    done = _purge(nights, tmp_path / "same")
    assert ("copies" in done.counts, done.counts["parts"]) == (False, n_parts)
