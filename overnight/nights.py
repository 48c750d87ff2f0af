"""What becomes of a night that did not go as planned: which late run begins, and which broken one is put back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import httpx

#: What Prefect's client raises where the server refuses, or is not reached in time.
UNHEARD = (httpx.HTTPError,)
#: A flow run that has been broken for longer is not put back: what it was to do is another night's by now.
RECENT_S = 86_400.0
#: States of a run that a process which was killed leaves behind: it worked, or it was about to be suspended.
_UNDER_WAY = ("running", "waiting", "batched")
#: How the message of the state begins in which a flow run is suspended while its rows are with a provider.
WITH_PROVIDER = "With a provider: "
#: How Prefect's key of such a suspension begins.
_SUSPENSION = "batches-"


def name_suspension(pass_id: int) -> str:
    """Prefect's key of a suspension until provider batches have ended: each pass has one of its own."""
    return f"{_SUSPENSION}{pass_id}"


def is_suspension(key: str | None) -> bool:
    """Whether it is such a key; one of a gate is another."""
    return key is not None and key.startswith(_SUSPENSION)


class Skip(StrEnum):
    """Why a late flow run does not begin."""

    #: It is too late for it.
    STALE = "stale"
    #: A newer one of the same schedule waits to begin too, and does what this one would have done.
    REPLACED = "replaced"


@dataclass(frozen=True)
class Beginning:
    """A flow run that is about to begin."""

    #: When its schedule meant it to begin; None where no schedule made it.
    scheduled_at: float | None
    #: Whether the ledger has a run of it already.
    is_known: bool
    #: How often the flow run has been begun, this time included.
    n_starts: int
    #: When the newest flow run of the same schedule was due that has not begun either, where there is one.
    newer_at: float | None = None


def find_lateness(beginning: Beginning, now: float) -> float:
    """How many seconds too late a new run begins; 0 where it continues one, or where no schedule made it."""
    if beginning.scheduled_at is None or beginning.is_known or beginning.n_starts > 1:
        return 0.0
    return max(0.0, now - beginning.scheduled_at)


def find_skip(beginning: Beginning, now: float, stale_s: float) -> Skip | None:
    """Why the flow run ends at once, where it does."""
    late_s = find_lateness(beginning, now)
    if not late_s or beginning.scheduled_at is None:
        return None
    if beginning.newer_at is not None and beginning.newer_at > beginning.scheduled_at:
        return Skip.REPLACED
    return Skip.STALE if late_s > stale_s else None


class Care(StrEnum):
    """What is done about a broken flow run."""

    #: It is put back, and goes on where it was.
    RESTART = "restart"
    #: It is looked at again the next time.
    WAIT = "wait"
    #: People are told: nobody else does anything about it.
    TELL = "tell"
    #: Nothing: its run has ended, or goes on elsewhere.
    LEAVE = "leave"


@dataclass(frozen=True)
class Broken:
    """A deployed flow run whose process has ended before it did."""

    flow_run_id: str
    #: When that was, as far as anybody knows.
    at: float
    #: When it was to begin.
    due_at: float
    #: How often it has been put back already.
    n_restarts: int
    #: Whether Prefect still takes it for running: nobody has told it.
    is_lost: bool = False
    #: Whether Prefect knows it at all.
    is_known: bool = True
    #: Whether another flow run of its deployment works now.
    is_crowded: bool = False
    #: Where its run stands, and the flow run that worked on it last; None where no run was ever opened.
    run_state: str | None = None
    last_flow_run_id: str | None = None
    #: Whether the process is seen to live all the same.
    is_alive: bool = False


@dataclass(frozen=True)
class Decision:
    """What is done, and why."""

    care: Care
    why: str


def decide(broken: Broken, *, now: float, restarts: int, stale_s: float) -> Decision:
    """
    What is done about a broken flow run; whatever it is, no answer is paid for twice, since the ledger has them.

    Args:
        broken: The flow run.
        now: Seconds since the epoch.
        restarts: How often one is put back.
        stale_s: How late one may begin that has not opened its run.
    """
    if broken.run_state is not None and (settled := _find_settled(broken)):
        return settled
    if why := _find_hopeless(broken, now, restarts, stale_s):
        return Decision(Care.TELL, why)
    # Prefect gives a slot back that it may have given to the other one already: the two would work side by side.
    if broken.is_lost and broken.is_crowded:
        return Decision(Care.WAIT, "another flow run of its deployment works")
    return Decision(Care.RESTART, "its process ended before it did")


def _find_settled(broken: Broken) -> Decision | None:
    """What its run says that was opened, where nothing is left to be put back."""
    if broken.last_flow_run_id != broken.flow_run_id:
        return Decision(Care.LEAVE, "another flow run goes on with its run")
    if broken.run_state == "halted":
        return Decision(Care.TELL, "its run had halted")
    if broken.run_state not in _UNDER_WAY:
        return Decision(Care.LEAVE, f"its run was {broken.run_state}")
    return Decision(Care.WAIT, "its process lives") if broken.is_alive else None


def _find_hopeless(broken: Broken, now: float, restarts: int, stale_s: float) -> str | None:
    """Why it is not put back, where it is not."""
    reasons = {
        "Prefect does not know its flow run any more": not broken.is_known,
        "it had not opened its run, and it is too late to begin": broken.run_state is None
        and now - broken.due_at > stale_s,
        "it broke more than a day ago": now - broken.at > RECENT_S,
        f"it may be put back {restarts} times (OVERNIGHT_RESTARTS)": broken.n_restarts >= restarts,
    }
    return next((why for why, applies in reasons.items() if applies), None)


def is_expected(due_at: float | None, *, known_since: float) -> bool:
    """
    Whether there has to be a flow run of a schedule; where there is none, it is missing.

    Args:
        due_at: When it was due last; None: never yet.
        known_since: Since when the schedule is known to be as it is: it was not due before.
    """
    return due_at is not None and due_at > known_since
