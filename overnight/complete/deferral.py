"""Whether a row that was left for a later pass is due: the provider may have asked for more time than has gone by."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import orjson

from overnight.ledger.sends import Sends
from overnight.llm import MAX_WAIT_S, find_retry_after_s


def find_reason_to_wait(sends: Sends) -> tuple[str, None, str] | None:
    """The last failure as (class, rule, message), where its provider asked to wait longer than until now."""
    if sends.closed_at is None or not sends.headers:
        return None
    asked_s = find_retry_after_s(orjson.loads(sends.headers), datetime.fromtimestamp(sends.closed_at, UTC))
    if (asked_s or 0.0) <= MAX_WAIT_S or sends.closed_at + (asked_s or 0.0) <= time.time():
        return None
    failure_class, message = sends.failures[-1]
    return failure_class, None, message
