"""A purge beside a night that goes on; on SQLite and on Postgres."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from overnight.ledger import Ledger
from overnight.ledger.manifests import record_batches
from overnight.ledger.runs import pin_model, pin_prompt
from overnight.records import Batch, Part
from tests.conftest import RUN
from tests.unit.ledger.nights import SAID, TEXTS, Nights

#: What no run but the old one asks.
ALONE = f"of the old night alone, red in {SAID}"


@dataclass
class Meanwhile:
    """A clock that lets something happen once it was found out what may be dropped, and each time it is looked at."""

    nights: Nights
    act: Callable[[int], object]
    n_looks: int = field(default=0)

    def __call__(self) -> float:
        if self.nights.count("purges"):
            self.n_looks += 1
            assert self.n_looks < 20, "the purge begins anew each time that something happens"
            self.act(self.n_looks)
        return 1001.0


def _pin(nights: Nights, run_id: str, texts: list[str]) -> None:
    """A run up to the moment before its batch is asked."""
    nights.house.begin(run_id)
    batch, write = nights.house.read_batch(texts), nights.house.ledger.write
    write(lambda c: pin_prompt(c, run_id, nights.prompt))
    write(lambda c: pin_model(c, run_id, nights.prompt))
    write(lambda c: record_batches(c, run_id, [batch]))


def _record_batch(ledger: Ledger, n: int) -> None:
    batch = Batch(n, Part(f"parts/00/{n}.parquet", "0" * 64, 0), "0" * 64, 0, 0)
    ledger.write(lambda c: record_batches(c, "busy", [batch]))


def test_what_begins_meanwhile_is_not_harmed_and_the_rest_goes(nights: Nights) -> None:
    nights.publish([*TEXTS, ALONE])
    nights.make_old()
    clock = Meanwhile(nights, lambda n: _pin(nights, "night-2", TEXTS) if n == 1 else None)
    done = nights.purge(clock=clock)
    assert clock.n_looks
    assert (done.counts["requests"], nights.count("completions")) == (1, len(TEXTS))
    kept = "requests r JOIN attempts a ON a.request_key = r.request_key JOIN bodies b ON b.digest IN (r.body, a.body)"
    assert nights.count(f"{kept} WHERE r.purged_at IS NULL AND length(b.data) > 0") == 2 * len(TEXTS)
    assert nights.count(f"{kept} WHERE r.purged_at IS NOT NULL AND length(b.data) > 0") == 0
    n_calls = len(nights.fake.calls)
    nights.ask(run_id="night-2")
    assert len(nights.fake.calls) == n_calls


def test_what_is_pinned_in_place_of_another_batch_meanwhile_is_not_harmed(nights: Nights) -> None:
    nights.publish()
    nights.make_old()
    _pin(nights, "night-2", ["something else"])
    clock = Meanwhile(nights, lambda n: _pin(nights, "night-2", TEXTS) if n == 1 else None)
    assert nights.purge(clock=clock).counts["requests"] == 0
    assert nights.count("completions") == len(TEXTS)


def test_an_old_run_that_is_continued_meanwhile_is_left_whole(nights: Nights) -> None:
    release = nights.publish()
    nights.make_old()
    clock = Meanwhile(nights, lambda n: nights.house.begin(RUN) if n == 1 else None)
    counts = nights.purge(clock=clock).counts
    assert {kind: counts[kind] for kind in ("requests", "bodies", "releases", "runs")} == dict.fromkeys(
        ("requests", "bodies", "releases", "runs"), 0
    )
    assert nights.count(f"draws WHERE release_id = '{release.release_id}' AND items LIKE '%{SAID}%'")
    assert nights.count("bodies WHERE length(data) = 0") == 0


def test_a_retry_that_begins_meanwhile_joins_the_rows_of_its_night(nights: Nights) -> None:
    nights.publish()
    nights.make_old()
    clock = Meanwhile(nights, lambda n: nights.house.begin("retry-1", retries=RUN) if n == 1 else None)
    nights.purge(clock=clock)
    payloads = "bodies WHERE digest IN (SELECT payload FROM release_rows UNION SELECT payload FROM corrections)"
    assert nights.count(payloads) == nights.count(f"{payloads} AND length(data) > 0") == len(TEXTS) + 1


def test_a_night_that_pins_a_batch_at_every_step_does_not_hold_a_purge_up(nights: Nights) -> None:
    nights.publish()
    nights.make_old()
    nights.house.begin("busy")
    clock = Meanwhile(nights, lambda n: _record_batch(nights.house.ledger, n))
    nights.purge(clock=clock)
    assert clock.n_looks
    assert (nights.list_left(), nights.count("bodies WHERE length(data) > 0")) == ([], 0)


def test_a_purge_comes_to_its_end_while_a_night_pins_without_a_break(nights: Nights) -> None:
    nights.publish()
    nights.make_old()
    nights.house.begin("busy")
    is_over, began = threading.Event(), threading.Event()

    def pin() -> None:
        # As another process would.
        with closing(Ledger(nights.house.ledger.url)) as ledger:
            for n in range(1, 10_000):
                _record_batch(ledger, n)
                began.set()
                if is_over.is_set():
                    return

    busy = threading.Thread(target=pin)
    busy.start()
    try:
        began.wait()
        nights.purge()
        assert busy.is_alive()
    finally:
        is_over.set()
        busy.join()
    assert (nights.list_left(), nights.count("bodies WHERE length(data) > 0")) == ([], 0)
