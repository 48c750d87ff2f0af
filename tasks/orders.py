"""What a worker on another machine is told with its batch, and whether it can do as it is told."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import overnight
from overnight import only_hosts
from overnight.complete import Progress
from overnight.failures import OvernightError
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.clock import find_boot
from overnight.llm import check_ready, parse_model
from overnight.parts import verify_part
from overnight.records import CompletedBatch, Part, Prompt
from overnight.settings import Settings

#: Settings that hold for a run, wherever its rows are asked. Keys, hosts and places are each machine's own.
_OF_THE_RUN = (
    "concurrency",
    "call_timeout_s",
    "retry_base_s",
    "budget_usd",
    "nightly_budget_usd",
    "probe_s",
    "outage_s",
    "lease_s",
    "terms",
)


@dataclass(frozen=True)
class Orders:
    """Which pass a batch belongs to, what holds for its run, and what the worker must have."""

    run_id: str
    pass_id: int
    #: Processes that ask together.
    n_processes: int
    settings: Mapping[str, Any]
    ledger_id: str
    #: The machine, since it was started; None where the ledger may be on any.
    boot: str | None
    #: Where the flow keeps parts, as its settings have it; a folder may go by another name on each machine.
    parts_url: str | None
    code: str
    only_hosts: frozenset[str]
    #: PROVIDER:NAME of all that may be asked.
    models: tuple[str, ...]
    #: One that is there to be read; None: none is.
    part: Part | None


@dataclass(frozen=True)
class Finished:
    """A batch that a worker hands back, and how far its process has come with the run by then."""

    completed: CompletedBatch
    #: Which process.
    who: str
    progress: Progress
    #: When providers want to be asked again for rows that were left, in seconds since the epoch.
    due: tuple[float, ...]


def give_orders(
    run_id: str, prompt: Prompt, part: Part | None, settings: Settings, *, pass_id: int, n_processes: int
) -> Orders:
    """The orders for a step of a run's pass, as this process sees it."""
    ledger = open_ledger(settings.ledger_url)
    return Orders(
        run_id,
        pass_id,
        n_processes,
        {name: getattr(settings, name) for name in _OF_THE_RUN},
        ledger.ledger_id,
        find_boot() if ledger.path else None,
        settings.parts_url,
        digest_code(),
        settings.only_hosts,
        tuple(model for model in (prompt.model, prompt.stronger, prompt.fallback) if model),
        part,
    )


def obey(orders: Orders) -> Settings:
    """
    The settings under which a worker carries the orders out: the run's, over its own.

    Raises:
        OvernightError: It cannot.
    """
    own = Settings.from_env()
    if own.only_hosts != orders.only_hosts:
        raise OvernightError(
            "Its OVERNIGHT_ONLY_HOSTS is not the flow's: set the same hosts for both, the scheduler's and the workers'"
            " among them."
        )
    only_hosts.install(own.only_hosts)
    settings = replace(own, **orders.settings)
    _refuse_other_code(orders)
    _refuse_other_ledger(open_ledger(settings.ledger_url), orders)
    _refuse_other_store(settings.parts_url, orders)
    for model in orders.models:
        check_ready(parse_model(model))
    return settings


def find_misfit(orders: Orders) -> str | None:
    """Why this process cannot carry the orders out; None: it can."""
    try:
        settings = obey(orders)
        if orders.part:
            verify_part(orders.part, settings.parts)
    except OvernightError as error:
        return str(error)
    return None


@functools.cache
def digest_code() -> str:
    """Of the package and of the project's tasks, with the version of Python, whose byte code goes over the wire."""
    digest = hashlib.sha256(f"{overnight.__version__} {sys.version_info[:2]}".encode())
    for folder in (Path(overnight.__file__).parent, Path(__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _refuse_other_code(orders: Orders) -> None:
    if digest_code() != orders.code:
        raise OvernightError(
            f"Its code of overnight or tasks, or its Python ({sys.version_info.major}.{sys.version_info.minor}), is not"
            " the flow's. Install the same on both, and start the worker anew."
        )


def _refuse_other_ledger(ledger: Ledger, orders: Orders) -> None:
    if ledger.ledger_id != orders.ledger_id:
        raise OvernightError(f"Its ledger, {ledger.name}, is not the flow's. Give both one OVERNIGHT_LEDGER_URL.")
    if orders.boot is not None and orders.boot != find_boot():
        raise OvernightError(
            "It is on another machine, and SQLite is no ledger for several. Set OVERNIGHT_LEDGER_URL to a Postgres."
        )


def _refuse_other_store(parts_url: str | None, orders: Orders) -> None:
    """Two stores may both have the part that is tried; what is written to one is not found in the other."""
    if parts_url != orders.parts_url and (_is_store(parts_url) or _is_store(orders.parts_url)):
        raise OvernightError(
            f"Its OVERNIGHT_PARTS_URL is not the flow's: {parts_url or 'not set'} here, {orders.parts_url or 'not set'}"
            " there. Set the same for both."
        )


def _is_store(parts_url: str | None) -> bool:
    return parts_url is not None and not parts_url.startswith("file:")
