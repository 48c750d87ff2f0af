from __future__ import annotations

import io
import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from overnight.cli import progress as cli_progress
from overnight.cli import run as cli_run
from overnight.cli.progress import Gate, show_progress
from overnight.cli.run import _halting_on_interrupt
from overnight.cli.telling import as_object, describe, tell
from overnight.complete import Engine, Progress
from overnight.ledger.runs import set_state
from overnight.records import RunState, Summary
from overnight.report.measure import RunReport
from overnight.taxonomy import FailureClass
from tests.conftest import RUN, House


class Said(io.StringIO):
    """A standard error, and the end of what is watched once it said that it waits."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self.done = threading.Event()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str) -> int:
        n = super().write(text)
        if "Waits for a person" in text:
            self.done.set()
        return n


SUMMARY = Summary(
    run_id="night-1",
    state="released",
    rows=1200,
    hits=200,
    calls=1000,
    attempts=1001,
    accepted=1100,
    quarantined=70,
    pending=30,
    held=100,
    published=1000,
    skipped=0,
    cost_usd=1.5,
    input_tokens=9000,
    output_tokens=800,
    release="night-1-0a",
    seconds=61.04,
)


def _report(summary: Summary = SUMMARY) -> RunReport:
    return RunReport(summary, (), (), (), reviews=(), docs=None)


def test_a_summary_as_json_is_one_object_on_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert tell(_report(), "it waits", as_json=True) == 0
    out, err = capfdbinary.readouterr()
    assert json.loads(out) == as_object(SUMMARY)
    assert err == b"overnight: it waits\n"


@pytest.mark.parametrize(
    ("state", "release", "code"),
    [
        ("waiting", "x", 0),
        ("released", "x", 0),
        ("rejected", "x", 0),
        # Held by its reviewer is a decision; held by a rule of the batch is for somebody to look at.
        ("held", "x", 0),
        ("held", None, 1),
        ("halted", None, 1),
        ("running", None, 1),
    ],
)
def test_the_exit_code_says_whether_somebody_must_act(state: str, release: str | None, code: int) -> None:
    assert tell(_report(replace(SUMMARY, state=state, release=release)), None, as_json=False) == code


def test_a_run_in_words_has_its_figures() -> None:
    words = describe(_report())
    assert "Run night-1: released, 61.0 s" in words
    assert "1,200 rows = 1,100 accepted + 70 quarantined + 30 pending" in words
    assert "200 hits, 1,000 calls for 1.5000 USD" in words
    assert "1,000 published, 100 held" in words


def test_rows_that_no_later_step_took_are_named_where_there_are_some() -> None:
    assert "skipped" not in as_object(SUMMARY)
    some = replace(SUMMARY, skipped=7)
    assert as_object(some)["skipped"] == 7
    assert "7 accepted rows were not taken by a later step" in describe(_report(some))


def test_a_cost_that_is_not_known_is_not_nothing() -> None:
    assert "calls at an unknown price" in describe(_report(replace(SUMMARY, cost_usd=None)))


@pytest.fixture
def engine(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The process's engine, at work on a step of a run."""
    with closing(Engine(house.settings, house.ledger)) as engine:
        monkeypatch.setattr(cli_run, "get_engine", lambda _: engine)
        engine.context(RUN).is_completing = True
        yield engine


def test_the_first_interrupt_halts_the_run_and_the_second_ends_it(engine: Engine) -> None:
    before = signal.getsignal(signal.SIGINT)
    with _halting_on_interrupt(RUN, engine.settings):
        signal.raise_signal(signal.SIGINT)
        halted = engine.context(RUN).halted
        assert halted is not None
        assert (halted.failure_class, str(halted)) == (FailureClass.STOPPED, "It was stopped by hand.")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_first_interrupt_halts_a_run_that_counts_more_rows_than_it_has(engine: Engine) -> None:
    # What a worker had done before it was killed is counted again where its batch is done anew.
    engine.context(RUN).progress = Progress(total=2, done=3)
    with _halting_on_interrupt(RUN, engine.settings):
        signal.raise_signal(signal.SIGINT)
    assert engine.context(RUN).halted is not None


def test_an_interrupt_where_nothing_is_being_completed_ends_at_once(engine: Engine) -> None:
    engine.context(RUN).is_completing = False
    with pytest.raises(KeyboardInterrupt), _halting_on_interrupt(RUN, engine.settings):
        signal.raise_signal(signal.SIGINT)
    assert engine.context(RUN).halted is None


def test_an_interrupt_while_the_run_begins_ends_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupts = iter([signal.SIGINT])

    def interrupt(*_: object) -> str:
        for number in interrupts:
            signal.raise_signal(number)
        return "run:night-2"

    monkeypatch.setattr("overnight.complete.engine.run_scope", interrupt)
    with _halting_on_interrupt("night-2", engine.settings), pytest.raises(KeyboardInterrupt):
        engine.begin_pass("night-2")


def test_without_an_interrupt_nothing_is_halted_and_the_handler_is_put_back(engine: Engine) -> None:
    before = signal.getsignal(signal.SIGINT)
    with _halting_on_interrupt(RUN, engine.settings):
        assert signal.getsignal(signal.SIGINT) is not before
    assert (signal.getsignal(signal.SIGINT), engine.context(RUN).halted) == (before, None)


def test_a_run_that_waits_beside_somebody_says_so_once_and_how_to_review_it(house: House) -> None:
    now = 0.0
    gate = Gate(house.begin(), house.ledger, is_awaited=True, clock=lambda: now)
    assert gate.look() is None
    house.ledger.write(lambda c: set_state(c, RUN, RunState.WAITING))
    # The ledger is not asked at every turn.
    assert gate.look() is None
    now = 2.0
    line = f"Waits for a person: `overnight review {RUN} --web`, or resume it in the Prefect UI."
    assert gate.look() == line
    now = 4.0
    assert gate.look() is None
    house.ledger.write(lambda c: set_state(c, RUN, RunState.RUNNING))
    now = 6.0
    assert gate.look() is None
    house.ledger.write(lambda c: set_state(c, RUN, RunState.WAITING))
    now = 8.0
    assert gate.look() == line


def test_a_run_that_ends_at_the_gate_leaves_that_to_its_summary(house: House) -> None:
    gate = Gate(house.begin(), house.ledger, is_awaited=False)
    house.ledger.write(lambda c: set_state(c, RUN, RunState.WAITING))
    assert gate.look() is None


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_line_comes_beside_the_progress(
    engine: Engine, house: House, monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool
) -> None:
    said = Said(is_terminal=is_terminal)
    monkeypatch.setattr(sys, "stderr", said)
    for name in ("_LOOK_S", "_BAR_S"):
        monkeypatch.setattr(cli_progress, name, 0.001)
    monkeypatch.setattr(cli_progress, "get_engine", lambda _: engine)
    house.begin()
    house.ledger.write(lambda c: set_state(c, RUN, RunState.WAITING))
    show_progress(RUN, replace(engine.settings, wait=True), said.done)
    assert f"Waits for a person: `overnight review {RUN} --web`, or resume it in the Prefect UI.\n" in said.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_a_run_notes_is_told_once(engine: Engine, monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool) -> None:
    said = Said(is_terminal=is_terminal)
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(cli_progress, "get_engine", lambda _: engine)
    engine.context(RUN).notes += ["One provider is away.", "One provider is away."]
    # It ended before anybody looked.
    said.done.set()
    show_progress(RUN, engine.settings, said.done)
    assert said.getvalue().count("One provider is away.\n") == 1
