"""The ledger: that it can be read, is whole, and is of this version."""

from __future__ import annotations

from pathlib import Path

from overnight.cli.doctor.finding import Finding, fail, ok, warn
from overnight.failures import LedgerRefused
from overnight.ledger.inspection import LedgerFacts, inspect_ledger
from overnight.ledger.store import SCHEMA_VERSION
from overnight.settings import Settings

_WHAT = "ledger"
#: Calls of unknown fate that are no cause for concern: a kill leaves as many as were in flight.
_MANY_UNKNOWN = 1000


def look_at_ledger(settings: Settings) -> tuple[Finding, float | None]:
    """What stands where the ledger is, or should be; and how far its database's clock is ahead, in seconds."""
    path = settings.ledger_url.removeprefix("sqlite:///")
    if path != settings.ledger_url and not Path(path).exists():
        return ok(_WHAT, f"there is none yet; the first run makes {path}"), None
    try:
        facts = inspect_ledger(settings.ledger_url)
    except LedgerRefused as error:
        return fail(_WHAT, str(error), ""), None
    return _judge(facts), facts.clock_ahead_s


def _judge(facts: LedgerFacts) -> Finding:
    where = f"{facts.name} ({facts.database})"
    if facts.damage:
        return fail(_WHAT, f"{where} is damaged: {facts.damage}", "Restore it from a backup: see docs/operations.md.")
    if facts.version is None:
        return ok(_WHAT, f"{where} is empty; the first run makes its tables")
    if facts.version > SCHEMA_VERSION:
        said = f"{where} has schema {facts.version}, and this version knows {SCHEMA_VERSION}"
        return fail(_WHAT, said, "Upgrade overnight on this machine.")
    if facts.version < SCHEMA_VERSION:
        said = f"{where} has schema {facts.version}; the next command that opens it brings it to {SCHEMA_VERSION}"
        return warn(_WHAT, said, "Back it up, and upgrade overnight on every machine at the same time.")
    said = f"{where}: {facts.n_runs:,} runs, schema {facts.version}"
    if facts.n_in_batches:
        said += f", {facts.n_in_batches:,} requests in provider batches"
    if facts.n_unknown > _MANY_UNKNOWN:
        said += f", {facts.n_unknown:,} calls of unknown outcome"
        return warn(_WHAT, said, "Many calls were begun and never ended: see why processes are killed.")
    return ok(_WHAT, said)
