"""Reminding: people are told of runs that soon stop waiting for them, and of those that have stopped."""

from __future__ import annotations

import time

from prefect import task

from overnight import only_hosts
from overnight.ledger import open_ledger
from overnight.notices import refuse_malformed
from overnight.settings import Settings
from tasks.notify import notify_late


@task(name="tell-reviewers")
def tell_reviewers() -> int:
    """Tell people, once a round, and say of how many runs they were told."""
    settings = Settings.from_env()
    only_hosts.install(settings.only_hosts)
    refuse_malformed(settings.notify)
    return notify_late(settings, open_ledger(settings.ledger_url), time.time()) if settings.notify else 0
