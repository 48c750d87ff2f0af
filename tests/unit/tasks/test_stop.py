"""A SIGTERM halts a run while a step of it is being completed, and is Prefect's otherwise."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from overnight.complete import Engine, Progress, complete_in_passes
from overnight.records import Batch, CompletedBatch
from tasks.stop import halting_on_sigterm
from tests.conftest import RUN, House


@pytest.fixture
def engine(house: House) -> Iterator[Engine]:
    with closing(Engine(house.settings, house.ledger)) as engine:
        yield engine


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals that came through to whoever took them before."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda signum, _: heard.append(signum))
    yield heard
    signal.signal(signal.SIGTERM, before)


def _work(engine: Engine, n_signals: int) -> None:
    """A step of the run, in which so many signals come while more rows are counted than there are."""
    run: Any = SimpleNamespace(run_id=RUN, engine=engine)
    context = engine.context(RUN)
    context.progress = Progress(total=2, done=3)

    def complete(_: Sequence[Batch], __: int) -> list[CompletedBatch]:
        for _n in range(n_signals):
            signal.raise_signal(signal.SIGTERM)
        return []

    with halting_on_sigterm(run):
        complete_in_passes([], complete, context=context, engine=engine)


def test_the_first_signal_halts_a_step_however_many_rows_are_counted_as_done(engine: Engine, heard: list[int]) -> None:
    _work(engine, 1)
    assert str(engine.context(RUN).halted) == "It was ended by SIGTERM."
    assert heard == []


def test_the_second_signal_is_for_whoever_took_it_before(engine: Engine, heard: list[int]) -> None:
    _work(engine, 2)
    assert heard == [signal.SIGTERM]


def test_a_signal_after_the_step_is_for_whoever_took_it_before(engine: Engine, heard: list[int]) -> None:
    run: Any = SimpleNamespace(run_id=RUN, engine=engine)
    _work(engine, 0)
    with halting_on_sigterm(run):
        signal.raise_signal(signal.SIGTERM)
    assert (engine.context(RUN).halted, heard) == (None, [signal.SIGTERM])
