"""What the environment and the project's pyproject.toml decide, read in one place."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from overnight.declarations import read_models, read_sinks
from overnight.failures import OvernightError
from overnight.people import read_notify
from overnight.place import PartsPlace, open_place, read_parts_url
from overnight.records import Mode, ModelTerms, OwnSink, is_time_of_day

N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Settings:
    """Settings of one process; durations in seconds, money in US dollars."""

    home: Path
    ledger_url: str
    #: Sink hosts that may be private or loopback.
    allow_hosts: frozenset[str]
    #: Calls in flight, with the answers that wait for their commit.
    concurrency: int
    #: Total deadline of one call.
    call_timeout_s: float
    #: First wait of the backoff between attempts.
    retry_base_s: float
    budget_usd: float | None
    #: What all runs of a night may spend together.
    nightly_budget_usd: float | None
    limit: int | None
    #: Where a run by hand stops at the gate: beside the person who waits, or not.
    wait: bool
    #: The run that this process continues, and whether it offers once more what the run's review held back.
    run_id: str | None
    #: How long a run may wait for a person.
    waits_s: float
    #: How long an approval lives once given.
    approval_s: float
    #: The file with the key that signs approvals, and the folder with what sinks ask for.
    approval_key: Path
    credentials: Path
    #: How often a provider that does not answer is tried, and how long before the run halts.
    probe_s: float = 30.0
    outage_s: float = 3600.0
    #: How long the claims of a process outlive the last sign of its life.
    lease_s: float = 120.0
    #: A scheduled run that would begin later than this is skipped.
    stale_s: float = 21_600.0
    #: How long one pass of a run may work before it halts; 0: as long as it takes.
    night_s: float = 86_400.0
    #: How often a deployed run whose process was killed is put back.
    restarts: int = 2
    #: How long a scheduled run may keep people waiting before they are told.
    late_s: float = 1800.0
    offers_held: bool = False
    #: How rows are asked, "online" or "batch", and by when, HH:MM; None: as the prompt says.
    mode: str | None = None
    by: str | None = None
    #: Rows of one provider batch, at the most.
    batch_rows: int = 10_000
    #: How long a batch is looked for at its provider that was sent and not answered.
    batch_grace_s: float = 600.0
    #: How often a run by hand that waits beside somebody looks at its batches.
    batch_poll_s: float = 60.0
    #: Rows that a shadow run asks, what it may cost, and how long it may take; it delays the review so long at most.
    shadow_rows: int = 200
    shadow_budget_usd: float = 1.0
    shadow_s: float = 600.0
    #: Where parts are instead of the home folder, as `read_parts_url` gives it.
    parts_url: str | None = None
    #: Who starts runs by hand here, where that is known.
    started_by: str | None = None
    #: The Dask scheduler whose workers ask a run's rows, or "local:N" for N workers here; None: the flow's own process.
    dask: str | None = None
    #: Hosts that a run's process may connect to; empty: all.
    only_hosts: frozenset[str] = frozenset()
    #: Whom to tell that somebody is needed, as apprise's URLs: they hold tokens, so no repr shows them.
    notify: tuple[str, ...] = field(default=(), repr=False)
    #: `overnight serve`: the file of its tokens, bytes of a body, requests to a prompt that wait, requests of a client.
    serve_tokens: Path | None = None
    serve_most_bytes: int = 2**20
    serve_most_queued: int = 100_000
    serve_rate: str = "600/minute"
    #: What the project declares in pyproject.toml: of its models, and the sinks that it calls by name.
    terms: tuple[ModelTerms, ...] = ()
    sinks: Mapping[str, str | OwnSink] = field(default_factory=dict, hash=False)

    @property
    def parts(self) -> PartsPlace:
        """Where parts are: in the home folder, or behind the URL that several machines share."""
        return open_place(self.parts_url) if self.parts_url else self.home

    @classmethod
    def from_env(cls) -> Settings:
        """
        Read the settings from `OVERNIGHT_*`, and what pyproject.toml in the current directory declares.

        Raises:
            OvernightError: A value is not of its type, pyproject.toml declares what no model or sink has, the file of
                `OVERNIGHT_NOTIFY` cannot be read or is open to others, or no parts can be kept at
                `OVERNIGHT_PARTS_URL`.
        """
        home = Path(os.environ.get("OVERNIGHT_HOME") or "data").absolute()
        return cls(
            home=home,
            ledger_url=os.environ.get("OVERNIGHT_LEDGER_URL") or f"sqlite:///{home / 'ledger.sqlite'}",
            allow_hosts=_hosts("OVERNIGHT_ALLOW_HOSTS"),
            concurrency=_number("OVERNIGHT_CONCURRENCY", int, 16, least=1) or 16,
            call_timeout_s=_number("OVERNIGHT_CALL_TIMEOUT_S", float, 120.0, least=0.01) or 120.0,
            retry_base_s=_number("OVERNIGHT_RETRY_BASE_S", float, 1.0, least=0.0) or 0.0,
            budget_usd=_number("OVERNIGHT_BUDGET_USD", float, None, least=0.0),
            nightly_budget_usd=_number("OVERNIGHT_NIGHTLY_BUDGET_USD", float, None, least=0.0),
            limit=_number("OVERNIGHT_LIMIT", int, None, least=1),
            wait=os.environ.get("OVERNIGHT_WAIT") == "1",
            run_id=os.environ.get("OVERNIGHT_RUN_ID") or None,
            waits_s=_number("OVERNIGHT_WAITS_S", float, 7 * 86_400.0, least=1) or 1.0,
            approval_s=_number("OVERNIGHT_APPROVAL_S", float, 86_400.0, least=0) or 0.0,
            approval_key=Path(os.environ.get("OVERNIGHT_APPROVAL_KEY") or home / "approval.key").absolute(),
            credentials=Path(os.environ.get("OVERNIGHT_CREDENTIALS") or home / "credentials").absolute(),
            probe_s=_number("OVERNIGHT_PROBE_S", float, 30.0, least=0.0) or 0.0,
            outage_s=_number("OVERNIGHT_OUTAGE_S", float, 3600.0, least=0.0) or 0.0,
            lease_s=_number("OVERNIGHT_LEASE_S", float, 120.0, least=1.0) or 120.0,
            stale_s=_number("OVERNIGHT_STALE_S", float, 21_600.0, least=1.0) or 21_600.0,
            night_s=_number("OVERNIGHT_NIGHT_S", float, 86_400.0, least=0.0) or 0.0,
            restarts=_number("OVERNIGHT_RESTARTS", int, 2, least=0) or 0,
            late_s=_number("OVERNIGHT_LATE_S", float, 1800.0, least=1.0) or 1800.0,
            offers_held=os.environ.get("OVERNIGHT_OFFERS_HELD") == "1",
            mode=_one_of("OVERNIGHT_MODE", tuple(Mode)),
            by=_time_of_day("OVERNIGHT_BY"),
            batch_rows=_number("OVERNIGHT_BATCH_ROWS", int, 10_000, least=1) or 1,
            batch_grace_s=_number("OVERNIGHT_BATCH_GRACE_S", float, 600.0, least=0.0) or 0.0,
            batch_poll_s=_number("OVERNIGHT_BATCH_POLL_S", float, 60.0, least=0.01) or 60.0,
            shadow_rows=_number("OVERNIGHT_SHADOW_ROWS", int, 200, least=1) or 200,
            shadow_budget_usd=_number("OVERNIGHT_SHADOW_BUDGET_USD", float, 1.0, least=0.0) or 0.0,
            shadow_s=_number("OVERNIGHT_SHADOW_S", float, 600.0, least=0.0) or 0.0,
            parts_url=read_parts_url(os.environ.get("OVERNIGHT_PARTS_URL") or ""),
            started_by=os.environ.get("OVERNIGHT_STARTED_BY") or None,
            dask=os.environ.get("OVERNIGHT_DASK") or None,
            only_hosts=_hosts("OVERNIGHT_ONLY_HOSTS"),
            notify=read_notify(os.environ.get("OVERNIGHT_NOTIFY") or ""),
            serve_tokens=Path(os.environ.get("OVERNIGHT_SERVE_TOKENS") or home / "serve-tokens").absolute(),
            serve_most_bytes=_number("OVERNIGHT_SERVE_MOST_BYTES", int, 2**20, least=1) or 1,
            serve_most_queued=_number("OVERNIGHT_SERVE_MOST_QUEUED", int, 100_000, least=1) or 1,
            serve_rate=os.environ.get("OVERNIGHT_SERVE_RATE") or "600/minute",
            terms=read_models(),
            sinks=read_sinks(),
        )


def _one_of(name: str, known: tuple[str, ...]) -> str | None:
    value = os.environ.get(name) or None
    if value is not None and value not in known:
        raise OvernightError(f"{name} is {value!r}. Set it to {' or '.join(known)}, or unset it.")
    return value


def _time_of_day(name: str) -> str | None:
    value = os.environ.get(name) or None
    if value is not None and not is_time_of_day(value):
        raise OvernightError(f"{name} is {value!r}, which is no time of a day. Set it like 06:00, or unset it.")
    return value


def _hosts(name: str) -> frozenset[str]:
    return frozenset(host.strip().lower() for host in os.environ.get(name, "").split(",") if host.strip())


def _number(name: str, kind: type[N], default: N | None, *, least: float) -> N | None:
    raw = os.environ.get(name)
    if not raw:
        return default
    try:
        value = kind(raw)
    except ValueError:
        raise OvernightError(
            f"{name} is {raw!r}, which is not a number. Set it to {kind.__name__} or unset it."
        ) from None
    # Nothing is more than a NaN: a budget of one would refuse nothing.
    if not least <= value < math.inf:
        raise OvernightError(f"{name} is {raw}, which is not a number from {least:g}. Set it to {least:g} or more.")
    return value
