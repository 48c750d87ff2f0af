"""HTTP statuses and error bodies, named for what the caller must do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from overnight.llm.wire import as_object, as_text, one_line, read_object
from overnight.taxonomy import TREATMENTS, FailureClass, FailureKind

_SPEND_CODES = {"insufficient_quota", "enforced_spend_limit_reached", "billing_hard_limit_reached", "billing_error"}
_SIZE_CODES = {"context_length_exceeded", "exceed_context_size_error", "request_too_large"}
# Anthropic reports an empty account, and most servers a prompt that is too long, as a plain 400.
_SPEND_WORDS = ("credit balance is too low",)
_SIZE_WORDS = ("prompt is too long", "maximum context length", "exceed context limit", "available context size")

_CLASS_OF_STATUS = {
    401: FailureClass.AUTH,
    402: FailureClass.SPEND_LIMIT,
    403: FailureClass.AUTH,
    404: FailureClass.AUTH,
    405: FailureClass.AUTH,
    408: FailureClass.OVERLOAD,
    409: FailureClass.OVERLOAD,
    410: FailureClass.AUTH,
    413: FailureClass.TOO_LARGE,
    429: FailureClass.RATE_LIMIT,
}

_ADVICE = {
    FailureClass.AUTH: "Check the key, the model's name and the base URL, then run again.",
    FailureClass.SPEND_LIMIT: "Add credit or raise the limit with the provider, then run again.",
    FailureClass.RATE_LIMIT: "It is sent again later; lower --concurrency if it stays.",
    FailureClass.OVERLOAD: "It is sent again later.",
    FailureClass.BAD_REQUEST: "Check the prompt's parameters and schema against this model.",
    FailureClass.TOO_LARGE: "Shorten the row or the prompt, or choose a model that takes more.",
}


@dataclass(frozen=True)
class Fault:
    """What a status that is not 200 means."""

    failure_class: FailureClass
    message: str
    retry_after_s: float | None
    is_retried: bool


def read_fault(who: str, status: int, headers: Mapping[str, str], body: bytes, now: datetime | None = None) -> Fault:
    """Name the fault; `headers` have lower-case names."""
    codes, said = _read_error(body)
    failure_class = _find_class(status, codes, said)
    retried = TREATMENTS[failure_class].kind is FailureKind.RETRY
    refused = retried and headers.get("x-should-retry", "").strip().lower() == "false"
    wait_s = find_retry_after_s(headers, now or datetime.now(UTC)) if retried and not refused else None
    advice = "The provider says not to send it again now: a later run asks." if refused else _ADVICE[failure_class]
    message = f"{who} answered {status}: {one_line(said) or 'no reason given'}. {advice}"
    return Fault(failure_class, message, wait_s, is_retried=not refused)


def leave_out_advice(message: str) -> str:
    """What a fault says, without what a caller is to do about it."""
    for advice in _ADVICE.values():
        message = message.removesuffix(f" {advice}")
    return message


def find_retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """How long the provider asks to wait, in seconds; None where it does not say, or says nonsense."""
    wait_ms = _find_number(headers.get("retry-after-ms", ""))
    if wait_ms is not None:
        return wait_ms / 1000
    wait_s = _find_number(headers.get("retry-after", ""))
    return wait_s if wait_s is not None else _find_seconds_until(headers.get("retry-after", ""), now)


def _find_class(status: int, codes: set[str], said: str) -> FailureClass:
    words = said.lower()
    if codes & _SPEND_CODES or (status == HTTPStatus.BAD_REQUEST and any(w in words for w in _SPEND_WORDS)):
        return FailureClass.SPEND_LIMIT
    if codes & _SIZE_CODES or (status in {400, 422} and any(w in words for w in _SIZE_WORDS)):
        return FailureClass.TOO_LARGE
    if status in _CLASS_OF_STATUS:
        return _CLASS_OF_STATUS[status]
    # A redirect is not followed: it would carry the key and the row to another host.
    by_hundreds = {3: FailureClass.AUTH, 4: FailureClass.BAD_REQUEST}
    return by_hundreds.get(status // 100, FailureClass.OVERLOAD)


def _read_error(body: bytes) -> tuple[set[str], str]:
    """The error's codes, and what it says in words: a proxy's page as it stands where there is no JSON."""
    data = read_object(body)
    error = as_object(data.get("error"))
    details = as_object(error.get("details"))
    codes = {c for c in (error.get("type"), error.get("code"), details.get("error_code")) if isinstance(c, str)}
    said = as_text(error.get("message")) or as_text(data.get("error")) or as_text(data.get("message"))
    return codes, (said or body[:1000].decode("utf-8", "replace")).rstrip(" .\n")


def _find_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _find_seconds_until(text: str, now: datetime) -> float | None:
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    return seconds if seconds >= 0 else None
