"""Calls about batches: what both providers' clients do with an exchange."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from overnight.failures import CallFailed
from overnight.llm.batches.lines import read_lines
from overnight.llm.batches.protocol import SubmitUnknown
from overnight.llm.exchange import Exchange
from overnight.llm.sending import Sending
from overnight.llm.wire import as_object, as_text, misshapen, read_object
from overnight.records import BatchLook, Reply
from overnight.taxonomy import FailureClass

#: How much the clocks here and there may differ, in seconds; and how late a proxy may hand on a request.
CLOCK_SLACK_S = 24 * 3600.0
#: Of a list, at the most: with a hundred batches each, more than a provider makes in the days that are of interest.
MAX_PAGES = 100
PAGE_ITEMS = 100
#: Nothing that leads out of the path that it stands in.
_PROVIDER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]{0,255}")
#: The answer of a provider, or of a gateway before it, that has no such list, or does not show it to this key.
_NOT_SHOWN = {401, 403, 404, 405, 501}
#: 4xx that may come after the request was handed on.
_DOUBTFUL = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT}


class BatchCalls:
    """Calls to one provider; each is sent once, and their answers are JSON objects."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.who = exchange.who

    async def get(self, path: str, **params: str | int) -> tuple[Reply, dict[str, Any]]:
        """What stands at a path."""
        reply = await self.exchange.send(self.exchange.make_request("GET", path, params=params or None))
        return reply, read_object(reply.body)

    async def post(self, path: str, **content: Any) -> tuple[Reply, dict[str, Any]]:
        """The answer to content, as `make_request` takes it."""
        reply = await self.exchange.send(self.exchange.make_request("POST", path, **content))
        return reply, read_object(reply.body)

    async def list_batches(self, path: str, cursor: str) -> AsyncGenerator[tuple[Reply, dict[str, Any]], None]:
        """
        The batches that the provider shows, the newest first; `cursor` names the parameter that goes on.

        Raises:
            CallFailed: The list cannot be read.
        """
        last: str | None = None
        for _ in range(MAX_PAGES):
            reply, data = await self.get(path, limit=PAGE_ITEMS, **({cursor: last} if last else {}))
            entries = data.get("data")
            if not isinstance(entries, list):
                raise misshapen(self.who, reply, "a list of batches")
            for entry in entries:
                yield reply, as_object(entry)
            if not data.get("has_more") or not entries:
                return
            last = self.check_id(as_object(entries[-1]).get("id"), reply)
        raise CallFailed(FailureClass.OVERLOAD, f"{self.who} lists more than {MAX_PAGES} pages of batches.")

    async def read_lines(self, path: str) -> AsyncGenerator[tuple[dict[str, Any], str | None], None]:
        """The JSON lines of a file, as `lines.read_lines` gives them."""
        pieces = self.exchange.stream(self.exchange.make_request("GET", path))
        async with aclosing(read_lines(self.who, pieces)) as lines:
            async for line in lines:
                yield line

    def check_id(self, value: Any, reply: Reply) -> str:
        """
        An id out of an answer.

        Raises:
            CallFailed: It is none that could stand in a URL.
        """
        text = as_text(value)
        if text is None or _PROVIDER_ID.fullmatch(text) is None:
            raise misshapen(self.who, reply, "a batch with an id")
        return text

    def refuse_id(self, provider_id: str) -> None:
        """
        See that an id may stand in a URL.

        Raises:
            CallFailed: It may not.
        """
        if _PROVIDER_ID.fullmatch(provider_id) is None:
            message = f"{self.who} has no batch or file {provider_id[:80]!r}: that is no id. Look into the ledger."
            raise CallFailed(FailureClass.BAD_REQUEST, message)


def name_doubt(who: str, batch_id: str, failure: CallFailed, sending: Sending | None = None) -> CallFailed:
    """What a failed submit is: the failure itself where the batch was surely not received, else `SubmitUnknown`."""
    if is_surely_unsent(failure) or (failure.reply is None and sending is not None and not sending.is_whole):
        return failure
    # A call would be sent again; this is not.
    said = str(failure).removesuffix(" It is sent again later.")
    message = f"{who} may have batch {batch_id} or not: {said} It is looked for there, and not sent again."
    return SubmitUnknown(failure.failure_class, message, reply=failure.reply)


def is_surely_unsent(failure: CallFailed) -> bool:
    """Whether the other side cannot have received what failed: there was no connection, or it said no."""
    if failure.reply is None:
        return failure.failure_class is FailureClass.CONNECT
    status = failure.reply.status
    return status // 100 in {3, 4} and status not in _DOUBTFUL


def is_not_shown(failure: CallFailed) -> bool:
    """Whether a list is not to be had at all, rather than not now."""
    return failure.reply is not None and failure.reply.status in _NOT_SHOWN


def is_too_late(failure: CallFailed) -> bool:
    """Whether a cancel may have failed because the batch is over."""
    return failure.reply is not None and failure.reply.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT}


def is_older(look: BatchLook, since: float) -> bool:
    """Whether a batch was made before one that was about to be sent at a moment."""
    return look.created_at is not None and look.created_at < since - CLOCK_SLACK_S
