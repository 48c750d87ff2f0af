"""What the environment and the project's pyproject.toml decide, read in one place."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from overnight.failures import OvernightError
from overnight.records import ModelTerms

N = TypeVar("N", int, float)

_PROJECT = Path("pyproject.toml")
_PRICES = ("input_usd_per_million", "output_usd_per_million")
_RATES = ("requests_per_minute", "tokens_per_minute")


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
    #: The run that this process continues.
    run_id: str | None
    #: How long a run may wait for a person.
    waits_s: float
    #: How long an approval lives once given.
    approval_s: float
    #: How often a provider that does not answer is tried, and how long before the run halts.
    probe_s: float = 30.0
    outage_s: float = 3600.0
    #: How long the claims of a process outlive the last sign of its life.
    lease_s: float = 120.0
    #: What the project declares of its models in pyproject.toml.
    terms: tuple[ModelTerms, ...] = ()

    @classmethod
    def from_env(cls) -> Settings:
        """
        Read the settings from `OVERNIGHT_*`, and the models' terms from pyproject.toml in the current directory.

        Raises:
            OvernightError: A value is not of its type, or pyproject.toml declares what no model has.
        """
        home = Path(os.environ.get("OVERNIGHT_HOME") or "data").absolute()
        return cls(
            home=home,
            ledger_url=os.environ.get("OVERNIGHT_LEDGER_URL") or f"sqlite:///{home / 'ledger.sqlite'}",
            allow_hosts=frozenset(
                h.strip().lower() for h in os.environ.get("OVERNIGHT_ALLOW_HOSTS", "").split(",") if h.strip()
            ),
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
            probe_s=_number("OVERNIGHT_PROBE_S", float, 30.0, least=0.0) or 0.0,
            outage_s=_number("OVERNIGHT_OUTAGE_S", float, 3600.0, least=0.0) or 0.0,
            lease_s=_number("OVERNIGHT_LEASE_S", float, 120.0, least=1.0) or 120.0,
            terms=_read_terms(),
        )


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


def _read_terms() -> tuple[ModelTerms, ...]:
    """What `[tool.overnight.models."PROVIDER:NAME"]` declares, in the order of the file."""
    try:
        table: Any = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise OvernightError(f"{_PROJECT.absolute()} cannot be read as TOML: {error}. Mend the file.") from error
    # Each level is looked at before it is stepped into: a project may have written anything there.
    for depth, name in enumerate(path := ("tool", "overnight", "models"), 1):
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise _bad_terms(".".join(path[:depth]), "is not a table")
    return tuple(_read_model(model, declared) for model, declared in table.items())


def _read_model(model: str, declared: Any) -> ModelTerms:
    provider, _, name = model.partition(":")
    if not provider or not name or not isinstance(declared, dict):
        raise _bad_terms(f"tool.overnight.models.{model!r}", "is not a table under the name PROVIDER:NAME")
    if unknown := declared.keys() - {*_PRICES, *_RATES}:
        raise _bad_terms(f"{min(unknown)!r} of {model!r}", f"is not one of {', '.join((*_PRICES, *_RATES))}")
    if len(declared.keys() & {*_PRICES}) == 1:
        missing = min({*_PRICES} - declared.keys())
        raise _bad_terms(f"{missing} of {model!r}", "is missing: prices are declared both or not at all")
    return ModelTerms(
        model,
        input_usd_per_million=_read_price(model, "input_usd_per_million", declared),
        output_usd_per_million=_read_price(model, "output_usd_per_million", declared),
        requests_per_minute=_read_rate(model, "requests_per_minute", declared),
        tokens_per_minute=_read_rate(model, "tokens_per_minute", declared),
    )


def _read_price(model: str, key: str, declared: Mapping[str, Any]) -> float | None:
    value = declared.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise _bad_terms(f"{key} of {model!r}", f"is {value!r}, which is not a number of US dollars from 0")
    return float(value)


def _read_rate(model: str, key: str, declared: Mapping[str, Any]) -> int | None:
    value = declared.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _bad_terms(f"{key} of {model!r}", f"is {value!r}, which is not a whole number from 1")
    return value


def _bad_terms(what: str, why: str) -> OvernightError:
    return OvernightError(f"{what} in {_PROJECT.absolute()} {why}. Mend it, or leave it out.")
