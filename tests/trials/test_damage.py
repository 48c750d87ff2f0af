"""A ledger that is damaged, or knows less than it did, is refused by one line or serves what it served; no call."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from overnight.complete import Engine
from overnight.failures import OvernightError
from overnight.ledger import Ledger
from tests.conftest import House, make_settings
from tests.fakes.provider import FakeProvider
from tests.trials.conftest import C, pick
from tests.trials.night import Night, cut_source
from tests.trials.record import Trial

N_ROWS = 60
N_FLIPS = pick(short=15, long=300)
N_CUTS = pick(short=4, long=20)

#: What a run came to: each row, its state, and its answer.
Rows = list[tuple[str, str, str | None]]


def run(home: Path, endpoint: str) -> Rows:
    """The same rows again, over the ledger that lies there."""
    settings = make_settings(home, f"sqlite:///{home}/ledger.sqlite", concurrency=C)
    ledger = Ledger(settings.ledger_url, patience_s=1.0)
    with closing(ledger), closing(Engine(settings, ledger)) as engine:
        house = House(settings, ledger)
        house.begin()
        night = Night(house, engine, house.make_prompt(endpoint=endpoint), cut_source(home, ["words"] * N_ROWS))
        ended = night.work()
        assert ended.why == ""
        return [(row["row_id"], row["state"], row["output"]) for row in night.read_rows(ended)]


@dataclass(frozen=True)
class Finished:
    """A run whose rows are all answered, and its ledger."""

    home: Path
    fake: FakeProvider
    rows: Rows

    def copy(self, home: Path) -> Path:
        """The home as it was; its ledger's file."""
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.home, home)
        return home / "ledger.sqlite"

    def run_again(self, home: Path) -> str:
        """Why the same run is refused over the ledger of this home; empty where its answers are those they were."""
        n_calls = len(self.fake.calls)
        try:
            found = run(home, self.fake.openai_base_url)
        except OvernightError as error:
            found, why = self.rows, str(error)
        else:
            why = ""
        assert len(self.fake.calls) == n_calls
        assert found == self.rows
        assert "\n" not in why
        return why


@pytest.fixture
def finished(home: Path, ledger_url: str, fake: FakeProvider) -> Finished:
    return Finished(home, fake, run(home, fake.openai_base_url))


def test_a_flipped_bit_costs_no_call_and_alters_no_answer(
    finished: Finished, tmp_path: Path, say: Callable[[str], None]
) -> None:
    dice, refused = random.Random(7), list[str]()  # noqa: S311 - the same bits each time
    for _ in range(N_FLIPS):
        path = finished.copy(tmp_path / "copy")
        data = bytearray(path.read_bytes())
        at, bit = dice.randrange(len(data)), dice.randrange(8)
        data[at] ^= 1 << bit
        path.write_bytes(data)
        try:
            refused += filter(None, [finished.run_again(path.parent)])
        except BaseException as error:
            error.add_note(f"bit {bit} of byte {at}")
            raise
    say(f"one bit flipped, {N_FLIPS} times: {len(refused)} refused, {N_FLIPS - len(refused)} as they were, 0 calls")


def test_a_ledger_that_was_cut_short_costs_no_call(
    finished: Finished, tmp_path: Path, say: Callable[[str], None]
) -> None:
    shares, whys = [n / N_CUTS for n in range(N_CUTS)], list[str]()
    for share in shares:
        path = finished.copy(tmp_path / "copy")
        with path.open("r+b") as file:
            file.truncate(int(share * path.stat().st_size))
        whys.append(finished.run_again(path.parent))
    say(f"cut to {shares[0]:.0%} to {shares[-1]:.0%}: {sum(map(bool, whys))} of {N_CUTS} refused, 0 calls")
    assert all(whys)


def test_a_newer_ledger_costs_no_call(house: House, finished: Finished, say: Callable[[str], None]) -> None:
    house.tamper("UPDATE alembic_version SET version_num = '9999'")
    why = finished.run_again(finished.home)
    say(f"a newer ledger, 0 calls: {why}")
    assert "schema 9999, which this version of overnight does not know" in why


@pytest.mark.parametrize("lost", [["-wal"], ["-wal", "-shm"]], ids=["wal", "wal and shm"])
def test_a_ledger_whose_wal_file_was_deleted_after_a_kill_costs_no_call(
    lost: list[str], trial: Trial, home: Path, say: Callable[[str], None]
) -> None:
    trial = trial.over(400)
    process = trial.start()
    trial.wait_for_calls(100)
    process.kill()
    for suffix in lost:
        (home / f"ledger.sqlite{suffix}").unlink()
    n_calls, again = trial.count_calls(), trial.work()
    say(f"{' and '.join(lost)} deleted after a kill, {trial.count_calls() - n_calls} calls: {again.why}")
    assert "it went backwards" in again.why
    assert "\n" not in again.why
    assert trial.count_calls() == n_calls
