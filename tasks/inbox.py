"""The inbox before a run: whether there is anything to begin one for."""

from __future__ import annotations

import time

from overnight.inbox.settle import has_waiting
from overnight.intake.inbox import parse_inbox
from overnight.ledger import open_ledger
from overnight.ledger.queries import find_run
from overnight.settings import Settings
from tasks.opening import find_run_id


def find_nothing(source: object, flow_run_id: str) -> str | None:
    """Why no run is begun: nothing waits in the inbox; None where there is something to do."""
    inbox = parse_inbox(source) if isinstance(source, str) else None
    if inbox is None:
        return None
    settings = Settings.from_env()
    ledger = open_ledger(settings.ledger_url)
    with ledger.reading() as connection:
        if find_run(connection, find_run_id(flow_run_id, settings, ledger)):
            return None
    found = has_waiting(inbox, ledger=ledger, place=settings.parts, lease_s=settings.lease_s, now=time.time())
    return None if found else f"Nothing waits in {inbox}: no run was begun."
