"""
Trials of a whole night over a provider that misbehaves, at the level of the engine.

Short forms run with all tests; `make trials` runs the long ones and shows what they measured.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from overnight.complete import Engine
from tests.conftest import House
from tests.fakes.provider import FakeProvider
from tests.trials.batch_night import MODELS, N_ROWS, BatchNight
from tests.trials.crash_worker import Orders, Workshop
from tests.trials.crowd import Crowd
from tests.trials.night import Night, cut_source
from tests.trials.publisher import Press
from tests.trials.record import Provider, Trial, start_provider
from tests.trials.scripts import Script
from tests.trials.shared_worker import Sharers
from tests.trials.targets import Target, open_target

T = TypeVar("T")

IS_LONG = os.environ.get("OVERNIGHT_TRIALS") == "long"
#: Calls in flight.
C = 16


def pick(*, short: T, long: T) -> T:
    """A size of the trial."""
    return long if IS_LONG else short


@pytest.fixture
def script(fake: FakeProvider) -> Script:
    """What the provider does, and its record; good answers until it is told otherwise."""
    fake.answer = script = Script()
    return script


@pytest.fixture
def open_night(house: House, fake: FakeProvider) -> Iterator[Callable[..., Night]]:
    """Opens a night over some texts, with settings of its own."""
    with ExitStack() as stack:

        def open_(
            texts: Sequence[str], *, model: str | None = None, endpoint: str | None = None, **changes: Any
        ) -> Night:
            house.begin()
            settings = replace(house.settings, **({"concurrency": C, "retry_base_s": 0.02} | changes))
            engine = stack.enter_context(closing(Engine(settings, house.ledger)))
            prompt = house.make_prompt(model=model, endpoint=endpoint or fake.openai_base_url)
            # What it imports takes time, and is none of the trial's.
            engine.run(engine.lane(prompt.model, prompt.endpoint))
            return Night(house, engine, prompt, cut_source(house.home, texts))

        yield open_


@pytest.fixture
def vendor() -> str:
    """Whose batches a trial is about. A trial that is of each: `@pytest.mark.parametrize("vendor", MODELS)`."""
    return "openai"


@pytest.fixture
def open_batches(
    house: House, fake: FakeProvider, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., BatchNight]]:
    """Opens a night in batch mode over so many rows, with settings of its own."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-fake-0123456789")
    endpoint = fake.openai_base_url if vendor == "openai" else fake.anthropic_base_url
    with ExitStack() as stack:

        def open_(n_rows: int = N_ROWS, **changes: Any) -> BatchNight:
            house.home.mkdir(exist_ok=True)
            house.begin()
            settings = replace(house.settings, **({"concurrency": C, "retry_base_s": 0.02} | changes))
            engine = stack.enter_context(closing(Engine(settings, house.ledger)))
            prompt = house.make_prompt(model=MODELS[vendor], endpoint=endpoint)
            return BatchNight(house, engine, prompt, cut_source(house.home, ["some words"] * n_rows))

        yield open_


@pytest.fixture(scope="session")
def workshop() -> Iterator[Workshop]:
    """Makes processes that work on a run and may be killed at it."""
    with Workshop.open() as workshop:
        yield workshop


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A provider in a process of its own, which outlives those that ask it."""
    with start_provider(tmp_path_factory.mktemp("provider"), delay_s=0.02) as provider:
        yield provider


@pytest.fixture(scope="session")
def sharers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sharers]:
    """Makes processes that share a ledger, any number at a time."""
    with Sharers.open(tmp_path_factory.mktemp("sharers")) as sharers:
        yield sharers


@pytest.fixture
def trial(ledger_url: str, home: Path, workshop: Workshop, provider: Provider) -> Trial:
    """A run over an empty ledger, worked on by processes that may be killed."""
    home.mkdir(exist_ok=True)
    orders = Orders(str(home), ledger_url, provider.endpoint, f"file:{home}/out.jsonl", 0, C)
    return Trial(orders, workshop, provider, provider.count_calls())


@pytest.fixture
def crowd(house: House, fake: FakeProvider, script: Script, sharers: Sharers) -> Crowd:
    """Several processes over the same rows of one house."""
    return Crowd(house, script, sharers, fake.openai_base_url)


@pytest.fixture
def target(kind: str, house: House, request: pytest.FixtureRequest) -> Iterator[Target]:
    """A destination of the kind that the test names, outside the processes that deliver."""
    with open_target(kind, house, request) as target:
        yield target


@pytest.fixture(scope="module")
def press() -> Iterator[Press]:
    """Makes processes that deliver what was approved, and may be killed at it."""
    with Press.open() as press:
        yield press


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Reports a figure in one line."""

    def report(line: str) -> None:
        print(line)  # noqa: T201 - a figure is what a trial is for
        record_property("figure", line)

    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of the long forms, in one place."""
    ended = [report for reports in terminalreporter.stats.values() for report in reports]
    calls = [report for report in ended if getattr(report, "when", "") == "call"]
    figures = [line for report in calls for name, line in report.user_properties if name == "figure"]
    if IS_LONG and figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.line(line)
