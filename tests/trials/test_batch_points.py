"""Wherever a process is killed that works with provider batches, no item is paid for twice and no row is lost."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from overnight.ledger import Ledger
from tests.conftest import House, make_settings
from tests.fakes.batches import Trouble
from tests.fakes.provider import FakeProvider
from tests.trials.batch_night import MODELS, N_ROWS
from tests.trials.books import check_books
from tests.trials.conftest import IS_LONG, C, pick
from tests.trials.crash_worker import Orders, Workshop

#: From the first row that is put into a batch to the last answer that is judged, and at which time.
POINTS = [
    *("batch-begun:1", "batch-begun:3", "before-commit:8", "after-commit:8", "after-commit:12"),
    *("batch-packed:1", "batch-packed:2", "batch-submitting:1", "batch-submitting:3", "batch-sent:1", "batch-sent:3"),
    *("batch-submitted:1", "batch-submitted:3", "batch-looked:1", "batch-recorded:1", "batch-recorded:2"),
    *("batch-ended:1", "batch-ended:2", "after-send:1", "after-send:30", "batch-judged:1", "batch-judged:40"),
]
#: In short each of some, and of the providers in turn.
EACH = pick(short=3, long=1)
CASES = [
    *(("sqlite", provider, point) for n, provider in enumerate(MODELS) for point in POINTS[n * (EACH > 1) :: EACH]),
    ("sqlite", "openai", "batch-uploaded:1"),
    ("sqlite", "openai", "batch-uploaded:2"),
    *(("postgres", provider, point) for provider in MODELS for point in (POINTS if IS_LONG else POINTS[11:12])),
]


@pytest.fixture
def orders(house: House, fake: FakeProvider, provider: str) -> Orders:
    house.home.mkdir(exist_ok=True)
    house.ledger.close()
    fake.batches.ends_after, fake.batches.seed = 1, 3
    endpoint = fake.openai_base_url if provider == "openai" else fake.anthropic_base_url
    url = house.settings.ledger_url
    return Orders(str(house.home), url, endpoint, house.sink, N_ROWS, C, in_batches=MODELS[provider])


@pytest.mark.parametrize(("database", "provider", "point"), CASES)
def test_a_process_that_is_killed_at_a_point_costs_nothing_twice(
    orders: Orders, workshop: Workshop, fake: FakeProvider, point: str
) -> None:
    assert workshop.start(replace(orders, failpoint=point)).wait().code == -9
    check_taken_up(orders, workshop, fake)


#: The same, where it is late.
LATE_POINTS = [
    "batch-canceled:1",
    "batch-canceled:3",
    "batch-looked:2",
    "batch-ended:3",
    "before-send:10",
    "after-send:50",
]


@pytest.mark.parametrize(
    ("provider", "point"), [(p, point) for n, p in enumerate(MODELS) for point in LATE_POINTS[n * (EACH > 1) :: EACH]]
)
def test_nor_does_one_that_gives_its_batches_up(
    orders: Orders, workshop: Workshop, fake: FakeProvider, point: str
) -> None:
    fake.batches.ends_after, fake.batches.cancel_looks = None, 1
    fake.batches.is_done_at_cancel = lambda item: hash(item.custom_id) % 2 == 0
    late = replace(orders, is_late=True)
    assert workshop.start(replace(late, failpoint=point)).wait().code == -9
    # A call in flight when its process is killed may be made twice: at most as many as may be in flight.
    check_taken_up(late, workshop, fake, most_twice=C if "send" in point else 0)


@pytest.mark.parametrize("provider", list(MODELS))
@pytest.mark.parametrize("kept", [True, False])
def test_a_batch_that_was_sent_before_the_kill_is_found_again(
    orders: Orders, workshop: Workshop, fake: FakeProvider, kept: bool
) -> None:
    fake.batches.troubles.append(Trouble("create", is_done=kept, delay_s=0.3))
    assert workshop.start(replace(orders, failpoint="batch-found:1" if kept else "batch-submitted:2")).wait().code == -9
    check_taken_up(orders, workshop, fake)


def check_taken_up(orders: Orders, workshop: Workshop, fake: FakeProvider, *, most_twice: int = 0) -> None:
    """The next process ends the night: each row has its answer, and was paid for once."""
    fake.batches.end()
    again = workshop.start(orders).wait()
    assert (again.code, again.n_accepted, again.n_pending, again.why) == (0, N_ROWS, 0, "")
    assert len(fake.billed) == N_ROWS
    assert sum(fake.billed.values()) <= N_ROWS + most_twice
    with closing(Ledger(orders.ledger_url)) as ledger:
        check_books(House(make_settings(Path(orders.home), orders.ledger_url), ledger), N_ROWS)
