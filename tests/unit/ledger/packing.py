"""Provider batches for tests: packed, sent, answered, as a process and a provider would."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from overnight.keys import digest_bytes
from overnight.ledger.attempts import NotOpened, Opening, open_attempts
from overnight.ledger.bodies import make_body
from overnight.ledger.closings import Closing, close_attempts
from overnight.ledger.completions import Completion
from overnight.ledger.leases import Worker, register
from overnight.ledger.provider_batch_items import Arrived, find_in_batches, record_results, take_arrived
from overnight.ledger.provider_batch_packing import Packed, begin_batch, pack
from overnight.ledger.provider_batches import (
    end_batch,
    get_provider_batch,
    make_caps,
    mark_submitted,
    mark_submitting,
)
from overnight.ledger.schema import leases
from overnight.ledger.spend import Shortfall, Spend, find_spend, night_scope, run_scope
from overnight.llm.batches import name_item
from overnight.records import BatchLook, BatchState, ItemKind, ItemResult, Prompt, ProviderBatch
from tests.conftest import RUN, House

T = TypeVar("T")
ID, OTHER_ID = "00000000000000aa", "00000000000000bb"
KEYS = [digest_bytes(bytes([n])) for n in range(5)]
#: What is set aside for each.
USD = 0.5


class Packing:
    """A process that packs, and the provider's side of it."""

    def __init__(self, house: House) -> None:
        self.house = house
        house.begin()
        self.prompt: Prompt = house.make_prompt()
        self.worker: Worker = self.write(lambda c: register(c, 60.0))
        self.worker.judges_from = 0.0

    def write(self, job: Callable[[sa.Connection], T]) -> T:
        return self.house.ledger.write(job)

    def read(self, job: Callable[[sa.Connection], T]) -> T:
        return self.house.ledger.read(job)

    def begin(self, batch_id: str = ID, *, worker: Worker | None = None, now: float = 1.0) -> Packed:
        given: dict[str, Any] = {"run_id": RUN, "model": "openai:gpt-fake", "endpoint": self.prompt.endpoint}
        by = worker or self.worker
        return self.write(lambda c: begin_batch(c, batch_id=batch_id, packed_by=by, now=now, **given))

    def make_openings(self, keys: Sequence[str], opened_at: float = 1.0, **given: Any) -> list[Opening]:
        caps = make_caps(RUN, opened_at)
        return [
            Opening(
                key=key,
                prompt_hash=self.prompt.prompt_hash,
                input_json="{}",
                body=make_body(f"of {key}".encode()),
                run_id=RUN,
                opened_at=opened_at,
                **({"reserved_usd": USD, "caps": caps} | given),
            )
            for key in keys
        ]

    def pack(
        self, packed: Packed, keys: Sequence[str] = KEYS, opened_at: float = 1.0, **given: Any
    ) -> list[int | Shortfall | NotOpened]:
        openings = self.make_openings(keys, opened_at, **given)
        return self.write(lambda c: functools.partial(pack, packed)(c, openings))

    def open(self, worker: Worker, *keys: str) -> list[int | Shortfall | NotOpened]:
        """As a call of its own would be opened."""
        openings = self.make_openings(keys)
        return self.write(lambda c: open_attempts(c, worker, openings))

    def submit(self, batch_id: str = ID, *, worker: Worker | None = None, now: float = 2.0) -> ProviderBatch | None:
        by = worker or self.worker
        return self.write(lambda c: mark_submitting(c, batch_id, worker=by, key_mark="mark", now=now))

    def hear(self, batch_id: str = ID, provider_id: str = "batch_1", now: float = 3.0, **given: Any) -> None:
        look = BatchLook(provider_id, "validating", is_ended=False, expires_at=90.0, **given)
        self.write(lambda c: mark_submitted(c, batch_id, look, now))

    def send(self, keys: Sequence[str] = KEYS, batch_id: str = ID, **given: Any) -> dict[str, int]:
        """A batch up to the moment when the provider has it; its attempts by key."""
        found = self.pack(self.begin(batch_id), keys, **given)
        self.submit(batch_id)
        self.hear(batch_id, f"of {batch_id}")
        return {key: n for key, n in zip(keys, found, strict=True) if isinstance(n, int)}

    def answer(self, ids: dict[str, int], batch_id: str = ID, *, body: bytes = b"said", now: float = 4.0) -> int:
        results = [self.make_result(key, n, batch_id, body=body) for key, n in ids.items()]
        return self.record(results, batch_id, now)

    def record(self, results: Sequence[ItemResult], batch_id: str = ID, now: float = 4.0) -> int:
        return self.write(lambda c: record_results(c, batch_id, results, now))

    def make_result(self, key: str, attempt_id: int, batch_id: str = ID, *, body: bytes = b"said") -> ItemResult:
        return ItemResult(name_item(batch_id, attempt_id, key), ItemKind.ANSWERED, 200, body, "req_1")

    def end(self, batch_id: str = ID, now: float = 5.0) -> int:
        return self.write(lambda c: end_batch(c, batch_id, now))

    def take(self, worker: Worker | None = None, keys: Sequence[str] = KEYS) -> dict[str, Arrived]:
        return self.write(lambda c: take_arrived(c, worker or self.worker, keys))

    def make_closing(self, arrived: Arrived, cost_usd: float | None = 0.1) -> Closing:
        """As of an answer that is accepted."""
        return Closing(
            arrived.attempt_id,
            arrived.key,
            6.0,
            "accepted",
            cost_usd=cost_usd,
            body=make_body(arrived.result.body),
            reserved_usd=arrived.reserved_usd,
            caps=make_caps(arrived.run_id, arrived.opened_at),
            completion=Completion(arrived.attempt_id, "{}"),
        )

    def close(self, *closings: Closing) -> list[bool]:
        return self.write(lambda c: close_attempts(c, closings))

    def find(self, batch_id: str = ID) -> ProviderBatch:
        return self.read(lambda c: get_provider_batch(c, batch_id))

    def find_state(self, batch_id: str = ID) -> BatchState:
        return self.find(batch_id).state

    def find_keys(self) -> set[str]:
        """Those that stand in batches."""
        return set(self.read(lambda c: find_in_batches(c, KEYS)))

    def find_spend(self, opened_at: float = 1.0) -> tuple[Spend, Spend]:
        """Of the run, and of the night."""
        scopes = [run_scope(RUN), night_scope(opened_at)]
        found = self.read(lambda c: find_spend(c, scopes))
        return tuple(found.get(scope, Spend()) for scope in scopes)  # type: ignore[return-value]

    def register(self) -> Worker:
        """Another process that lives."""
        worker = self.write(lambda c: register(c, 60.0))
        worker.judges_from = 0.0
        return worker

    def kill(self, worker: Worker) -> None:
        """Its lease is over."""
        change = sa.update(leases).where(leases.c.worker_id == worker.worker_id).values(until=1.0)
        self.write(lambda c: c.execute(change))


def race(*jobs: Callable[[], T]) -> list[T]:
    """What each job gives, all of them begun at the same moment in threads of their own."""
    ready, results = threading.Barrier(len(jobs)), dict[int, T]()

    def run(n: int, job: Callable[[], T]) -> None:
        ready.wait(10)
        results[n] = job()

    threads = [threading.Thread(target=run, args=(n, job)) for n, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [results[n] for n in range(len(jobs))]


@pytest.fixture
def packing(house: House) -> Packing:
    return Packing(house)
