"""What became of one request, read as the answer to a call of its own would be."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson

from overnight.failures import CallFailed
from overnight.llm.model import ModelRef
from overnight.llm.statuses import read_fault
from overnight.masking import Mask
from overnight.records import ItemKind, ItemResult, Reply
from overnight.taxonomy import FailureClass

_TOO_LONG = b'{"error": {"message": "its answer is over 10 MB, and was not read"}}'
_LOST = {
    ItemKind.EXPIRED: (FailureClass.EXPIRED, "expired in its batch, unasked. It is asked again"),
    ItemKind.CANCELED: (FailureClass.CANCELED, "was canceled with its batch, unasked. It is asked again"),
    ItemKind.MISSING: (
        FailureClass.TIMEOUT,
        "is not among the results of its batch. It is asked again; it may be billed",
    ),
}


def make_answered(
    hide: Callable[[int, bytes], bytes], custom_id: str, status: int, body: Any, *, request_id: str | None = None
) -> ItemResult:
    """A request that was answered, by a response's body or an error's; secrets are removed."""
    data = hide(status, _write_json(body))
    return ItemResult(custom_id, ItemKind.ANSWERED, status, data, request_id)


def make_too_long(custom_id: str) -> ItemResult:
    """A request whose answer is too long to be read."""
    return ItemResult(custom_id, ItemKind.ANSWERED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LONG)


def read_result(model: ModelRef, endpoint: str, result: ItemResult) -> Reply:
    """
    The reply of a request that was answered: as the call of its own would have given it.

    Raises:
        CallFailed: It expired, was canceled, is missing, or what came is an error, by the table of treatments.
    """
    who = f"{model} ({urlsplit(endpoint).netloc})"
    if result.kind in _LOST:
        failure_class, said = _LOST[result.kind]
        raise CallFailed(failure_class, f"A request to {who} {said}.")
    reply = Reply(status=result.status or 0, body=result.body, request_id=result.request_id)
    mask = Mask()
    if reply.status == HTTPStatus.OK:
        return mask.hide_fields(_read_reply(model, who, reply))
    fault = read_fault(who, reply.status, {}, reply.body)
    raise CallFailed(fault.failure_class, mask.hide(fault.message), reply=reply)


def _read_reply(model: ModelRef, who: str, reply: Reply) -> Reply:
    if model.provider == "anthropic":
        from overnight.llm.anthropic_messages import read_message  # noqa: PLC0415 - as in make_client

        return read_message(who, reply)
    from overnight.llm.openai_chat import read_completion  # noqa: PLC0415 - as in make_client

    return read_completion(who, reply)


def _write_json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        # A lone surrogate has a JSON form that orjson does not write.
        return json.dumps(value).encode()
