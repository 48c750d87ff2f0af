"""A disk that is full halts the run by one clear line; what was acknowledged is kept, and with room the run goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.trials.conftest import C, pick
from tests.trials.crash_worker import Ended
from tests.trials.record import Trial

N_ROWS = pick(short=300, long=3_000)
#: In the midst of the run's answers.
ROOM = pick(short=800_000, long=2_500_000)


def check_halt(ended: Ended) -> None:
    """One clear line, and soon: waiting makes no room."""
    assert ended.code == 0
    assert "cannot be written" in ended.why
    assert "\n" not in ended.why
    assert ended.seconds < 10.0


def run_out(trial: Trial, make_room: Callable[[], Any], **limit: int) -> tuple[str, str]:
    """
    Have the run halt, start it again in vain, and go on when there is room.

    Returns:
        What became of it, and why it halted, twice.
    """
    halted = trial.work(**limit)
    known = trial.read_answers()
    assert 0 < len(known) < N_ROWS
    assert trial.count_calls() - len(known) <= C
    again = trial.work(**limit)
    check_halt(halted)
    check_halt(again)
    make_room()
    ended = trial.work()
    assert (ended.code, ended.n_accepted, ended.why) == (0, N_ROWS, "")
    assert trial.read_answers().items() >= known.items()
    assert len(set(trial.list_called())) == N_ROWS
    # It halted twice.
    assert trial.count_repeats() <= 2 * C
    found = f"halted with {len(known)} of {N_ROWS} answers and once more, with room all of them;"
    return f"{found} calls sent twice {trial.count_repeats()}: {halted.why}", halted.why + again.why


def test_a_file_that_may_not_grow_halts_the_run(trial: Trial, say: Callable[[str], None]) -> None:
    found, why = run_out(trial.over(N_ROWS), lambda: None, max_bytes=ROOM)
    say(f"files of {ROOM:,} bytes at most: {found}")
    assert "disk I/O error" in why


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or _mount("-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)):
        pytest.skip("Only root can make a small disk, where it may mount one.")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def _mount(*words: str) -> int:
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode


def test_a_full_disk_halts_the_run(
    small_disk: Path, blank_sqlite: Path, trial: Trial, say: Callable[[str], None]
) -> None:
    shutil.copyfile(blank_sqlite, small_disk / "ledger.sqlite")
    orders = replace(trial.orders, home=str(small_disk), ledger_url=f"sqlite:///{small_disk}/ledger.sqlite")
    found, why = run_out(
        replace(trial, orders=orders).over(N_ROWS),
        lambda: _mount("-o", f"remount,size={100 * ROOM}", str(small_disk)),
    )
    say(f"a disk of {ROOM:,} bytes: {found}")
    assert "full" in why
