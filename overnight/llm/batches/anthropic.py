"""Anthropic's message batches: one body of requests, and nothing by which a batch could be marked as ours."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import orjson

from overnight.failures import CallFailed
from overnight.keys import key_mark
from overnight.llm.anthropic_messages import make_headers
from overnight.llm.batches.calls import (
    BatchCalls,
    is_not_shown,
    is_older,
    is_too_late,
    name_doubt,
)
from overnight.llm.batches.protocol import BatchItem, Found, Limits
from overnight.llm.batches.results import make_answered, make_too_long
from overnight.llm.batches.spool import FileStream, Frame, spool_items, watch_sending
from overnight.llm.exchange import Exchange
from overnight.llm.model import ModelRef
from overnight.llm.sending import Sending
from overnight.llm.wire import as_count, as_object, as_text, misshapen, read_object
from overnight.records import BatchLook, ItemKind, ItemResult, Reply

_PATH = "/v1/messages/batches"
_COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")
#: What a call of its own would have answered with.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_UNANSWERED = {"expired": ItemKind.EXPIRED, "canceled": ItemKind.CANCELED}


class AnthropicBatches:
    """A client for message batches."""

    def __init__(self, model: ModelRef, *, endpoint: str, api_key: str, timeout_s: float, limits: Limits) -> None:
        self.key_mark = key_mark(endpoint, api_key)
        self._limits = limits
        self._exchange = Exchange(
            endpoint,
            make_headers(api_key),
            who=str(model),
            secret=api_key,
            timeout_s=timeout_s,
            concurrency=2,
            is_billed=False,
        )
        self._calls = BatchCalls(self._exchange)

    async def submit(
        self, batch_id: str, items: Iterable[BatchItem], n_items: int, *, check: Callable[[], None] = lambda: None
    ) -> BatchLook:
        """Send a batch, in one step."""
        frame = Frame(before=b'{"requests":[', write=_write_item, between=b",", after=b"]}")
        with await spool_items(items, n_items, frame=frame, limits=self._limits) as file:
            request = self._exchange.make_request("POST", _PATH, stream=FileStream(file))
            request.headers["content-length"] = str(file.tell())
            sending = watch_sending(request).stream
            assert isinstance(sending, Sending)  # noqa: S101 - narrows the type
            check()
            try:
                reply = await self._exchange.send(request)
                return self._read(reply, read_object(reply.body))
            except CallFailed as failure:
                raise name_doubt(self._exchange.who, batch_id, failure, sending) from failure

    async def look(self, provider_id: str) -> BatchLook:
        """The batch as it stands now."""
        self._calls.refuse_id(provider_id)
        return self._read(*await self._calls.get(f"{_PATH}/{provider_id}"))

    async def find(self, batch_id: str, *, since: float, n_items: int, spared: Collection[str]) -> Found:
        """
        Look for a batch among those of as many requests that were made since.

        Its custom ids tell it, and they are shown with the results: until it has ended, it is a candidate.
        """
        candidates: list[str] = []
        listed = self._calls.list_batches(_PATH, "after_id")
        try:
            async with aclosing(listed):
                async for reply, entry in listed:
                    look = self._read(reply, entry)
                    if is_older(look, since):
                        break
                    if look.provider_id in spared or look.n_items != n_items:
                        continue
                    is_ours = await self._is_ours(look, batch_id) if look.is_ended else None
                    if is_ours:
                        return Found(look=look)
                    if is_ours is None:
                        candidates.append(look.provider_id)
        except CallFailed as failure:
            if is_not_shown(failure):
                return Found(unknown=str(failure))
            raise
        return Found(candidates=tuple(candidates))

    async def cancel(self, provider_id: str) -> BatchLook:
        """Ask to stop; of a batch that is over, how it stands."""
        self._calls.refuse_id(provider_id)
        try:
            return self._read(*await self._calls.post(f"{_PATH}/{provider_id}/cancel"))
        except CallFailed as failure:
            if is_too_late(failure) and (look := await self.look(provider_id)).is_ended:
                return look
            raise

    async def read_results(self, look: BatchLook) -> AsyncGenerator[ItemResult, None]:
        """What came back; from where the batch is, whatever `results_url` says."""
        self._calls.refuse_id(look.provider_id)
        async with aclosing(self._calls.read_lines(f"{_PATH}/{look.provider_id}/results")) as lines:
            async for line, long in lines:
                result = make_too_long(long) if long else _read_line(self._exchange, line)
                if result is not None:
                    yield result

    async def aclose(self) -> None:
        """Close the connections."""
        await self._exchange.aclose()

    async def _is_ours(self, look: BatchLook, batch_id: str) -> bool | None:
        """Whether a batch that has ended is ours, by the first of its results; None where they are not shown."""
        try:
            async with aclosing(self.read_results(look)) as results:
                async for result in results:
                    return f"-{batch_id}-" in result.custom_id
        except CallFailed as failure:
            if not is_not_shown(failure):
                raise
        return None

    def _read(self, reply: Reply, data: dict[str, Any]) -> BatchLook:
        status = as_text(data.get("processing_status")) or ""
        # A word that is not known is no end: it is shown as it is.
        if not status:
            raise misshapen(self._exchange.who, reply, "a batch")
        counts = [as_count(as_object(data.get("request_counts")).get(name)) for name in _COUNTS]
        return BatchLook(
            provider_id=self._calls.check_id(data.get("id"), reply),
            status=status,
            is_ended=status == "ended",
            # While it is in progress, all of them are "processing", however many are done.
            n_items=sum(counts),
            n_done=sum(counts[1:]),
            created_at=_read_time(data.get("created_at")),
            expires_at=_read_time(data.get("expires_at")),
        )


def _write_item(custom_id: str, body: bytes) -> bytes:
    return b'{"custom_id":' + orjson.dumps(custom_id) + b',"params":' + body + b"}"


def _read_time(value: Any) -> float | None:
    """Seconds since the epoch; None where it is no time."""
    try:
        at = datetime.fromisoformat(as_text(value) or "")
    except ValueError:
        return None
    return at.replace(tzinfo=at.tzinfo or UTC).timestamp()


def _read_line(exchange: Exchange, line: dict[str, Any]) -> ItemResult | None:
    """What a line says of its request; None where it says nothing of any."""
    custom_id, result = as_text(line.get("custom_id")), as_object(line.get("result"))
    kind = result.get("type")
    if not custom_id:
        return None
    if kind == "succeeded":
        return make_answered(exchange.hide_body, custom_id, 200, result.get("message"))
    if kind == "errored":
        # The error as a call of its own has it, or what is inside of that.
        error = as_object(result.get("error"))
        whole = error if isinstance(error.get("error"), dict) else {"type": "error", "error": error}
        status = _STATUSES.get(as_text(as_object(whole["error"]).get("type")) or "", 500)
        return make_answered(exchange.hide_body, custom_id, status, whole, request_id=as_text(whole.get("request_id")))
    return ItemResult(custom_id, _UNANSWERED[kind]) if kind in _UNANSWERED else None
