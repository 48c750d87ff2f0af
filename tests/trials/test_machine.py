"""Whatever workers do to the same requests, in whichever order: the ledger is as a few plain dictionaries say."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from overnight.keys import digest_bytes
from overnight.ledger import Ledger
from overnight.ledger.attempts import NotOpened, Opening, open_attempts
from overnight.ledger.bodies import make_body
from overnight.ledger.closings import Closing, close_attempts
from overnight.ledger.completions import Completion, Refusal
from overnight.ledger.leases import Worker, find_claimed, renew
from overnight.ledger.spend import Cap, Shortfall, run_scope
from tests.conftest import RUN, House, make_settings
from tests.trials.conftest import pick

KEYS = [digest_bytes(b"%d" % n) for n in range(8)]
BODY = make_body(b"sent")
CAP_USD = 1.0
CAP = Cap(run_scope(RUN), CAP_USD)
#: A lease that ends by itself in no example.
LEASE_S = 600.0
#: What is set aside for a call; sums of these are exact.
PRICES = [0.0, 0.125, 0.25]
#: How an attempt ends.
HOW = ["accepted", "failed", "refused", "unsent"]


@dataclass
class Attempt:
    """One that was opened, as the machine remembers it."""

    attempt_id: int
    key: str
    place: int
    worker_id: int
    reserved_usd: float
    outcome: str = "open"
    booked_usd: float = 0.0


@dataclass
class Place:
    """Where a worker stands, and another when that one is gone."""

    ledger: Ledger
    worker: Worker
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def open(self) -> list[Attempt]:
        return [a for a in self.attempts if a.outcome == "open"]


class Workers(RuleBasedStateMachine):
    """Three workers with a ledger each."""

    #: A migrated ledger, and where copies of it may lie.
    blank: Path
    folder: Path
    numbers = itertools.count()
    n_steps = 0

    @initialize()
    def begin(self) -> None:
        path = self.folder / f"{next(self.numbers)}.sqlite"
        shutil.copyfile(self.blank, path)
        self.url = f"sqlite:///{path}"
        self.gone: list[Ledger] = []
        self.attempts: list[Attempt] = []
        self.claims: dict[str, Attempt] = {}
        self.lapsed: set[int] = set()
        #: The first settlement of a key stays: the attempt, and the answer; None where it was refused.
        self.settled: dict[str, tuple[int, str | None]] = {}
        self.places = [self._make_place() for _ in range(3)]
        house = House(make_settings(self.folder, self.url), self.places[0].ledger)
        house.begin()
        self.prompt_hash = house.make_prompt().prompt_hash

    @rule(
        at=st.integers(0, 2),
        keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3),
        price=st.sampled_from(PRICES),
    )
    def open(self, at: int, keys: list[str], price: float) -> None:
        place = self.places[at]
        openings = [Opening(key, self.prompt_hash, "{}", BODY, RUN, 1.0, price, (CAP,)) for key in keys]
        found = place.ledger.write(lambda c: open_attempts(c, place.worker, openings))
        first: set[str] = set()
        for key, got in zip(keys, found, strict=True):
            self._check_opened(place, at, key, price, got, again=key in first)
            first.add(key)

    def _check_opened(
        self, place: Place, at: int, key: str, price: float, got: int | Shortfall | NotOpened, *, again: bool
    ) -> None:
        holder = self.claims.get(key)
        if key in self.settled:
            assert got is NotOpened.SETTLED
        elif again or (holder and holder.worker_id not in {place.worker.worker_id, *self.lapsed}):
            assert got is NotOpened.ELSEWHERE
        elif self._spent_usd + self._reserved_usd + price > CAP_USD:
            assert isinstance(got, Shortfall)
            # It was taken over, and given up again.
            self.claims.pop(key, None)
        else:
            assert isinstance(got, int)
            self.claims[key] = attempt = Attempt(got, key, at, place.worker.worker_id, price)
            self.attempts.append(attempt)
            place.attempts.append(attempt)

    @precondition(lambda self: any(place.open for place in self.places))
    @rule(data=st.data(), how=st.sampled_from(HOW), is_told=st.booleans())
    def close(self, data: st.DataObject, how: str, is_told: bool) -> None:
        at = data.draw(st.sampled_from([n for n, place in enumerate(self.places) if place.open]))
        some = data.draw(st.lists(st.sampled_from(self.places[at].open), min_size=1, max_size=2, unique_by=id))
        self._close_all(at, some, how, is_told=is_told)

    def _close_all(self, at: int, some: list[Attempt], how: str, *, is_told: bool) -> None:
        closings = [self._make_closing(a, how, a.reserved_usd / 2 if is_told else None) for a in some]
        expected = self._foretell(some, how)
        stands = self.places[at].ledger.write(lambda c: close_attempts(c, closings))
        for attempt, closing, stood in zip(some, closings, stands, strict=True):
            assert stood is (attempt in expected)
            attempt.outcome = closing.outcome if stood or how == "unsent" else "fenced"
            attempt.booked_usd = _book(closing)
            if self.claims.get(attempt.key) is attempt:
                del self.claims[attempt.key]
            if stood and how in {"accepted", "refused"}:
                assert attempt.key not in self.settled
                self.settled[attempt.key] = (attempt.attempt_id, _answer(attempt) if how == "accepted" else None)

    def _foretell(self, some: list[Attempt], how: str) -> list[Attempt]:
        """Those that hold their request, and of the others the first whose answer nobody else is asking for."""
        stands = [a for a in some if self.claims.get(a.key) is a]
        for a in some:
            is_late = a not in stands and how == "accepted" and a.key not in self.claims and a.key not in self.settled
            if is_late and all(other.key != a.key for other in stands):
                stands.append(a)
        return stands

    def _make_closing(self, attempt: Attempt, how: str, cost_usd: float | None) -> Closing:
        a = attempt.attempt_id
        return Closing(
            a,
            attempt.key,
            2.0,
            "failed" if how == "refused" else how,
            cost_usd=cost_usd,
            reserved_usd=attempt.reserved_usd,
            caps=(CAP,),
            completion=Completion(a, _answer(attempt)) if how == "accepted" else None,
            refusal=Refusal(a, "refusal", None, "no", None) if how == "refused" else None,
        )

    @precondition(lambda self: any(a.key in self.claims for place in self.places for a in place.open))
    @rule(data=st.data(), how=st.sampled_from(HOW), goes_on=st.booleans())
    def stall(self, data: st.DataObject, how: str, goes_on: bool) -> None:
        """One stands still for longer than its lease, another asks the same, and the first comes too late."""
        some = [a for place in self.places for a in place.open if self.claims.get(a.key) is a]
        if not some:
            return
        attempt = data.draw(st.sampled_from(some))
        self.lapse_or_renew(attempt.place, lapses=True)
        self.open((attempt.place + 1) % 3, [attempt.key], attempt.reserved_usd)
        if goes_on:
            self.lapse_or_renew(attempt.place, lapses=False)
        self._close_all(attempt.place, [attempt], how, is_told=True)

    @rule(at=st.integers(0, 2), lapses=st.booleans())
    def lapse_or_renew(self, at: int, lapses: bool) -> None:
        place = self.places[at]
        worker_id = place.worker.worker_id
        if lapses:
            self._tamper(f"UPDATE leases SET until = 0.0 WHERE worker_id = {worker_id}")  # noqa: S608 - ours
            self.lapsed.add(worker_id)
        else:
            place.ledger.write(lambda c: renew(c, place.worker))
            self.lapsed.discard(worker_id)

    @rule(at=st.integers(0, 2), is_killed=st.booleans())
    def end(self, at: int, is_killed: bool) -> None:
        """It ends, as it should or not, whatever it left open, and another comes in its place."""
        place = self.places[at]
        worker_id = place.worker.worker_id
        if is_killed:
            # Its start is one that no process has.
            self._tamper(f"UPDATE leases SET process = process || '0' WHERE worker_id = {worker_id}")  # noqa: S608 - ours
            self.gone.append(place.ledger)
        else:
            place.ledger.close()
        self.lapsed.add(worker_id)
        self.places[at] = self._make_place()

    @invariant()
    def ledger_is_as_foretold(self) -> None:
        self.places[0].ledger.read(self._check)
        type(self).n_steps += 1

    def _check(self, connection: sa.Connection) -> None:
        """All of one state of the ledger."""
        self._check_settled(connection)
        self._check_claims(connection)
        found = _fetch(connection, "SELECT attempt_id, outcome FROM attempts ORDER BY attempt_id")
        assert found == sorted((a.attempt_id, a.outcome) for a in self.attempts)
        [money] = _fetch(connection, "SELECT spent_usd, reserved_usd FROM spend") or [(0.0, 0.0)]
        assert money == (self._spent_usd, self._reserved_usd)
        assert sum(money) <= CAP_USD

    def _check_settled(self, connection: sa.Connection) -> None:
        passed = _fetch_by_key(connection, "SELECT request_key, attempt_id, output FROM completions")
        refused = _fetch_by_key(connection, "SELECT request_key, attempt_id, NULL FROM quarantines")
        assert not passed.keys() & refused.keys()
        assert passed | refused == self.settled

    def _check_claims(self, connection: sa.Connection) -> None:
        found = _fetch_by_key(connection, "SELECT request_key, worker_id, attempt_id FROM claims")
        assert found == {key: (a.worker_id, a.attempt_id) for key, a in self.claims.items()}
        assert all(a.outcome == "open" for a in self.claims.values())
        live = {key for key, a in self.claims.items() if a.worker_id not in self.lapsed}
        assert find_claimed(connection, Worker(0), KEYS) == live
        # Passed + refused + being asked + free are all.
        free = set(KEYS) - self.settled.keys() - found.keys()
        assert len(self.settled) + len(found) + len(free) == len(KEYS)

    def teardown(self) -> None:
        for ledger in [*self.gone, *(place.ledger for place in self.places)]:
            ledger.close()

    @property
    def _spent_usd(self) -> float:
        return sum(a.booked_usd for a in self.attempts if a.outcome != "open")

    @property
    def _reserved_usd(self) -> float:
        return sum(a.reserved_usd for a in self.attempts if a.outcome == "open")

    def _make_place(self) -> Place:
        ledger = Ledger(self.url)
        return Place(ledger, ledger.register(LEASE_S))

    def _tamper(self, statement: str) -> None:
        assert self.places[0].ledger.write(lambda c: c.exec_driver_sql(statement).rowcount) == 1


def _fetch(connection: sa.Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql(query)]


def _fetch_by_key(connection: sa.Connection, query: str) -> dict[str, tuple[Any, ...]]:
    return {key.hex(): tuple(rest) for key, *rest in _fetch(connection, query)}


def _answer(attempt: Attempt) -> str:
    return f'{{"of":{attempt.attempt_id}}}'


def _book(closing: Closing) -> float:
    if closing.outcome == "unsent":
        return 0.0
    return closing.reserved_usd if closing.cost_usd is None else closing.cost_usd


def test_the_ledger_is_as_the_machine_says(tmp_path: Path, blank_sqlite: Path, say: Callable[[str], None]) -> None:
    class Here(Workers):
        blank, folder = blank_sqlite, tmp_path

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=pick(short=10, long=150),
            stateful_step_count=pick(short=25, long=50),
            deadline=None,
            derandomize=pick(short=True, long=False),
            suppress_health_check=list(HealthCheck),
        ),
    )
    say(f"three workers on one ledger: {Here.n_steps} random steps, all as foretold")
