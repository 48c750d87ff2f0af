"""What the headers of any reply say of the account: for how long it has nothing left."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from overnight.llm.retry import MAX_WAIT_S

#: No reply holds everybody for longer than a failed call would be waited for: a header may be wrong, and where
#: it is right the next call is refused and says so.
MAX_HOLD_S = MAX_WAIT_S

_OPENAI = ("requests", "tokens")
_ANTHROPIC = ("requests", "tokens", "input-tokens", "output-tokens")
_N = r"\d{1,9}(?:\.\d{1,9})?"
_PLAIN_SECONDS = re.compile(_N, re.ASCII)
#: As Go writes durations: `1h2m3s`, `6m0s`, `1.5s`, `20ms`.
_DURATION = re.compile(rf"(?:(?P<h>{_N})h)?(?:(?P<m>{_N})m)?(?:(?P<s>{_N})s)?(?:(?P<ms>{_N})ms)?", re.ASCII)
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def find_hold_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """
    For how long nothing more should be sent, in seconds; None where something is left, or nothing can be read.

    Args:
        headers: Of any reply, names in lower case.
        now: With its time zone; what times of day are compared with.
    """
    longest_s = max(_read_holds(headers, now), default=0.0)
    return min(longest_s, MAX_HOLD_S) if longest_s > 0 else None


def _read_holds(headers: Mapping[str, str], now: datetime) -> Iterator[float]:
    """The time until each of the account's limits that is used up is filled again."""
    for what in _OPENAI:
        if _is_used_up(headers.get(f"x-ratelimit-remaining-{what}")):
            yield _read_duration_s(headers.get(f"x-ratelimit-reset-{what}", ""))
    for what in _ANTHROPIC:
        if _is_used_up(headers.get(f"anthropic-ratelimit-{what}-remaining")):
            yield _read_time_s(headers.get(f"anthropic-ratelimit-{what}-reset", ""), now)


def _is_used_up(remaining: str | None) -> bool:
    return remaining is not None and remaining.strip() == "0"


def _read_duration_s(text: str) -> float:
    """The duration in seconds; 0 where it is none."""
    text = text.strip()
    if _PLAIN_SECONDS.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text)
    return sum(float(n) * _UNITS_S[unit] for unit, n in found.groupdict(default="0").items()) if found else 0.0


def _read_time_s(text: str, now: datetime) -> float:
    """The time from now until the moment in seconds; 0 where it is none, or names no time zone."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        return 0.0
    return (at - now).total_seconds() if at.tzinfo else 0.0
