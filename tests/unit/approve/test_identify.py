"""A reviewer's code: of the enrolled name, of this half minute, and taken once."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyotp
import pytest
import sqlalchemy as sa

from overnight.approve.identify import CodeRefused, Identity, identify
from overnight.failures import ApprovalRefused, ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.reviewers import find_reviewer, record_reviewer, record_wrong, remove_reviewer
from overnight.signature import derive_secret
from tests.conftest import DATABASES, House

#: The beginning of a time step.
T = 1_800_000_000.0
STEP_S = 30.0


@dataclass
class Gate:
    """Enrols Ada, and asks who reviews."""

    house: House

    def enrol(self, name: str = "Ada", nonce: str = "n1") -> str:
        secret = derive_secret(name, nonce, self.house.settings.approval_key, is_first=True)
        self.house.ledger.write(lambda c: record_reviewer(c, name, nonce, "root", T))
        return secret

    def show(self, at: float = T, name: str = "Ada", nonce: str = "n1") -> str:
        """What the app shows."""
        return pyotp.TOTP(derive_secret(name, nonce, self.house.settings.approval_key, is_first=False)).at(int(at))

    def ask(
        self, reviewer: str = "Ada", code: str | None = None, *, ledger: Ledger | None = None, **how: Any
    ) -> Identity:
        return (ledger or self.house.ledger).write(lambda c: self.identify(c, reviewer, code, **how))

    def identify(self, connection: sa.Connection, reviewer: str, code: str | None, **how: Any) -> Identity:
        plain = {"at": T, "now": T, "is_demanded": False, "starter": None}
        return identify(connection, reviewer, code, key_file=self.house.settings.approval_key, **(plain | how))

    def refuse(self, *given: Any, **how: Any) -> str:
        """What it says; not one of those that count."""
        with pytest.raises(ReviewRefused) as refused:
            self.ask(*given, **how)
        assert type(refused.value) is ReviewRefused
        return _one_line(refused.value)

    def refuse_code(self, *given: Any, **how: Any) -> str:
        with pytest.raises(CodeRefused) as refused:
            self.ask(*given, **how)
        return _one_line(refused.value)

    def guess(self, n: int, now: float = T) -> None:
        """Wrong codes that the caller counts."""
        for _ in range(n):
            self.refuse_code("Ada", self.wrong(), now=now)
            self.house.ledger.write(lambda c: record_wrong(c, "Ada", now))

    def wrong(self) -> str:
        """A code that the app shows at no time near."""
        near = {self.show(T + n * STEP_S) for n in range(-20, 20)}
        return next(code for code in ("000000", "111111", "222222") if code not in near)


def _one_line(error: Exception) -> str:
    said = str(error)
    assert "\n" not in said
    return said


@pytest.fixture
def gate(house: House) -> Gate:
    return Gate(house)


def test_where_nobody_is_enrolled_a_name_is_declared(gate: Gate) -> None:
    assert gate.ask("Ada") == gate.ask("Ada", starter="Ada") == Identity("Ada", "declared")
    assert not gate.house.settings.approval_key.exists()


def test_where_a_code_is_demanded_somebody_must_be_enrolled(gate: Gate) -> None:
    assert "overnight reviewers add NAME" in gate.refuse("Ada", "123456", is_demanded=True)


@pytest.mark.parametrize("is_demanded", [False, True])
def test_a_code_identifies_under_the_name_that_is_enrolled(gate: Gate, is_demanded: bool) -> None:
    gate.enrol()
    assert gate.ask("ADA", gate.show(), is_demanded=is_demanded) == Identity("Ada", "code")


def test_a_code_may_be_given_as_apps_show_it(gate: Gate) -> None:
    gate.enrol()
    code = gate.show()
    assert gate.ask("Ada", f" {code[:3]} {code[3:]}\n").how == "code"


def test_once_somebody_is_enrolled_nobody_else_reviews(gate: Gate) -> None:
    gate.enrol()
    assert "'Bert' is not enrolled" in gate.refuse("Bert")
    assert "'Bert' is not enrolled" in gate.refuse("Bert", gate.show())
    assert "'B\\nert' is not enrolled" in gate.refuse("B\nert", gate.show(nonce="", name="B\nert"))


def test_who_was_removed_reviews_no_more(gate: Gate) -> None:
    gate.enrol()
    gate.enrol("Bert")
    gate.house.ledger.write(lambda c: remove_reviewer(c, "Ada", T))
    assert "'Ada' is not enrolled" in gate.refuse("Ada", gate.show())


@pytest.mark.parametrize("code", [None, "", " "])
def test_a_name_without_its_code_is_refused(gate: Gate, code: str | None) -> None:
    gate.enrol()
    assert "Ada has no code" in gate.refuse("Ada", code)


@pytest.mark.parametrize(
    "code", ["12345", "1234567", "12345a", "\uff11\uff12\uff13\uff14\uff15\uff16", "-12345", "+12345", "1e5.00"]
)
def test_what_is_not_six_digits_is_refused_and_not_repeated(gate: Gate, code: str) -> None:
    gate.enrol()
    said = gate.refuse("Ada", code)
    assert "is not 6 digits" in said
    assert code not in said


@pytest.mark.parametrize("reviewer", ["Ada", "ada"])
def test_another_ones_code_is_wrong(gate: Gate, reviewer: str) -> None:
    gate.enrol()
    gate.enrol("Bert", "n2")
    assert "code of Ada is wrong" in gate.refuse_code(reviewer, gate.show(name="Bert", nonce="n2"))


@pytest.mark.parametrize("off_s", [-STEP_S, 0.0, STEP_S - 1, STEP_S, 2 * STEP_S - 1])
def test_a_clock_may_be_off_by_one_step(gate: Gate, off_s: float) -> None:
    gate.enrol()
    assert gate.ask("Ada", gate.show(T + off_s)).how == "code"


def test_a_code_of_two_steps_before_is_too_old(gate: Gate) -> None:
    gate.enrol()
    assert "too old" in gate.refuse_code("Ada", gate.show(T - STEP_S - 1))


def test_a_code_of_later_is_wrong(gate: Gate) -> None:
    gate.enrol()
    assert "is wrong" in gate.refuse_code("Ada", gate.show(T + 2 * STEP_S))


def test_a_code_is_held_against_the_moment_it_was_handed_in(gate: Gate) -> None:
    gate.enrol()
    assert gate.ask("Ada", gate.show(), now=T + 600).how == "code"


def test_a_code_near_the_beginning_of_time_is_no_fault(gate: Gate) -> None:
    gate.enrol()
    assert gate.ask("Ada", gate.show(31.0), at=1.0).how == "code"


def test_a_code_is_taken_once(gate: Gate) -> None:
    gate.enrol()
    gate.ask("Ada", gate.show())
    assert "used already" in gate.refuse_code("Ada", gate.show())
    assert gate.ask("Ada", gate.show(T + STEP_S)).how == "code"


def test_a_code_of_before_the_last_one_is_used_up_with_it(gate: Gate) -> None:
    gate.enrol()
    gate.ask("Ada", gate.show())
    assert "used already" in gate.refuse_code("Ada", gate.show(T - STEP_S))


def test_a_used_code_stays_used_when_it_is_old(gate: Gate) -> None:
    gate.enrol()
    gate.ask("Ada", gate.show())
    assert "used already" in gate.refuse_code("Ada", gate.show(), at=T + 3 * STEP_S)


def test_a_code_is_not_used_up_where_the_decision_fails(gate: Gate) -> None:
    gate.enrol()

    def job(connection: sa.Connection) -> None:
        gate.identify(connection, "Ada", gate.show())
        raise RuntimeError

    with pytest.raises(RuntimeError):
        gate.house.ledger.write(job)
    assert gate.ask("Ada", gate.show()).how == "code"


@pytest.mark.parametrize("database", DATABASES)
def test_of_two_who_give_a_code_at_once_one_is_taken(gate: Gate) -> None:
    gate.enrol()
    code, is_burned, goes_on = gate.show(), threading.Event(), threading.Event()

    def hold(connection: sa.Connection) -> Identity:
        found = gate.identify(connection, "Ada", code)
        is_burned.set()
        assert goes_on.wait(10)
        return found

    with closing(Ledger(gate.house.ledger.url)) as other:
        first = gate.house.ledger.submit(hold)
        assert is_burned.wait(10)
        second = other.submit(lambda c: gate.identify(c, "Ada", code))
        goes_on.set()
        assert first.result().how == "code"
        with pytest.raises(CodeRefused, match="used already"):
            second.result()


def test_enrolling_anew_stops_the_old_secret(gate: Gate) -> None:
    gate.enrol()
    gate.enrol(nonce="n2")
    assert "is wrong" in gate.refuse_code("Ada", gate.show())
    assert gate.ask("Ada", gate.show(nonce="n2")).how == "code"


def test_who_started_a_run_does_not_review_it(gate: Gate) -> None:
    gate.enrol()
    assert "Ada started this run" in gate.refuse("Ada", gate.show(), starter="ADA")
    assert gate.ask("Ada", gate.show(), starter="Bert").how == "code"


def test_five_wrong_codes_in_a_row_lock_the_name(gate: Gate) -> None:
    gate.enrol()
    gate.guess(4)
    assert gate.ask("Ada", gate.show()).how == "code"
    later = T + STEP_S
    gate.guess(5, now=later)
    code = gate.show(T + STEP_S)
    for now in (later, later + 899):
        assert "Ada is locked until" in gate.refuse("Ada", code, now=now)
    # By the clock of who reads the answer, whatever moment the answer names.
    assert "Ada is locked until" in gate.refuse("Ada", gate.show(T + 3600), at=T + 3600, now=later)
    assert gate.ask("Ada", code, now=later + 900).how == "code"


def test_after_a_lock_the_next_wrong_code_locks_again(gate: Gate) -> None:
    gate.enrol()
    gate.guess(5)
    gate.guess(1, now=T + 900)
    assert "locked" in gate.refuse("Ada", gate.show(), now=T + 1799)


def test_a_lock_is_of_one_name(gate: Gate) -> None:
    gate.enrol()
    gate.enrol("Bert", "n2")
    gate.guess(5)
    assert gate.ask("Bert", gate.show(name="Bert", nonce="n2")).how == "code"


def test_a_refusal_uses_nothing_up(gate: Gate) -> None:
    gate.enrol()
    gate.refuse_code("Ada", gate.wrong())
    gate.refuse("Ada", "12")
    with gate.house.ledger.reading() as connection:
        found = find_reviewer(connection, "Ada")
    assert found
    assert (found.last_step, found.n_wrong) == (0, 0)


@pytest.mark.parametrize("reviewer", ["Ada", "Bert"])
def test_without_the_key_no_code_is_verified_and_none_is_made(gate: Gate, reviewer: str) -> None:
    gate.enrol()
    code, key_file = gate.show(), gate.house.settings.approval_key
    key_file.unlink()
    with pytest.raises(ApprovalRefused, match="cannot be read from"):
        gate.ask(reviewer, code)
    assert not key_file.exists()


def test_a_code_of_another_key_is_wrong(gate: Gate) -> None:
    gate.enrol()
    code = gate.show()
    gate.house.settings.approval_key.write_bytes(bytes(32))
    assert "is wrong" in gate.refuse_code("Ada", code)
