"""Moments, ages and figures in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

#: Seconds of each, the longest first; an age is told by the longest that it has two of, or one.
_SPANS = (
    ("year", 31_557_600),
    ("month", 2_629_800),
    ("week", 604_800),
    ("day", 86_400),
    ("hour", 3600),
    ("minute", 60),
)
#: Weeks are told up to here, then months.
_N_WEEKS = 9


def tell_time(moment: float, now: float | None) -> str:
    """When it was, and how long ago: "2026-10-12 02:31:07 UTC, 6 weeks ago"."""
    when = f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return when if now is None else f"{when}, {tell_age(now - moment)}"


def tell_age(age_s: float) -> str:
    """An age in the one unit that fits it."""
    if age_s < 0:
        return "in the future by this clock"
    for unit, length_s in _SPANS:
        n = int(age_s // length_s)
        if n and not (unit == "month" and age_s < _N_WEEKS * 604_800):
            return f"{n} {unit}{'' if n == 1 else 's'} ago"
    return "just now"


def tell_cost(cost_usd: float | None) -> str:
    """A price, or that nobody knows it."""
    return "price unknown" if cost_usd is None else f"{cost_usd:.6f} USD"


def tell_dropped(purged_at: float | None, digest: str, now: float | None) -> str:
    """What stands in place of a text that a purge has dropped."""
    of = f" of {tell_time(purged_at, now)}" if purged_at else ""
    return f"dropped by the purge{of}; SHA-256 {digest}"


def write_out(value: Any) -> str:
    """A value to be read: a text as it is, JSON indented, a body that is JSON too."""
    if isinstance(value, str):
        return _indent(value)
    return orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode()


def _indent(text: str) -> str:
    if not text.startswith(("{", "[")):
        return text
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return text
