"""OpenAI's batches: a file of requests, a batch over it that our id marks, and two files of results."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from contextlib import aclosing
from typing import Any

import orjson

from overnight.failpoints import reach
from overnight.failures import CallFailed
from overnight.keys import key_mark
from overnight.llm.batches.calls import CLOCK_SLACK_S, BatchCalls, is_not_shown, is_too_late, name_doubt
from overnight.llm.batches.protocol import BatchItem, Found, Limits
from overnight.llm.batches.results import make_answered, make_too_long
from overnight.llm.batches.spool import Frame, spool_items, watch_sending
from overnight.llm.exchange import Exchange
from overnight.llm.model import ModelRef
from overnight.llm.openai_chat import make_headers
from overnight.llm.wire import as_count, as_object, as_text, misshapen, one_line, read_object
from overnight.records import BatchLook, ItemKind, ItemResult, Reply

_PATH = "/chat/completions"
#: The name that our id has in a batch's metadata.
_MARK = "overnight"
_ENDED = {"failed", "completed", "expired", "cancelled"}
#: Codes of a batch that failed as a whole, and of a request without a response, by the status that says the same.
_STATUSES = {
    "token_limit_exceeded": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "billing_hard_limit_reached": 402,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "invalid_request": 400,
    "invalid_request_error": 400,
    "request_too_large": 413,
    "request_timeout": 504,
}
_UNANSWERED = {"batch_expired": ItemKind.EXPIRED, "batch_cancelled": ItemKind.CANCELED}


class OpenAIBatches:
    """A client for batches of chat completions."""

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
        """Send a batch; of its two steps only the second can be in doubt: a file alone costs nothing."""
        file_id = await self._upload(batch_id, items, n_items)
        reach("batch-uploaded")
        wanted = {
            "input_file_id": file_id,
            "endpoint": f"/v1{_PATH}",
            "completion_window": "24h",
            "metadata": {_MARK: batch_id},
        }
        check()
        try:
            return self._read(*await self._calls.post("/batches", json=wanted))
        except CallFailed as failure:
            raise name_doubt(self._exchange.who, batch_id, failure) from failure

    async def look(self, provider_id: str) -> BatchLook:
        """The batch as it stands now."""
        self._calls.refuse_id(provider_id)
        return self._read(*await self._calls.get(f"/batches/{provider_id}"))

    async def find(self, batch_id: str, *, since: float, n_items: int, spared: Collection[str]) -> Found:  # noqa: ARG002 - our id tells it
        """Look for the batch that has our id in its metadata."""
        listed = self._calls.list_batches("/batches", "after")
        try:
            async with aclosing(listed):
                async for reply, entry in listed:
                    if as_object(entry.get("metadata")).get(_MARK) == batch_id:
                        return Found(look=self._read(reply, entry))
                    if 0 < as_count(entry.get("created_at")) < since - CLOCK_SLACK_S:
                        break
        except CallFailed as failure:
            if is_not_shown(failure):
                return Found(unknown=str(failure))
            raise
        return Found()

    async def cancel(self, provider_id: str) -> BatchLook:
        """Ask to stop; of a batch that is over, how it stands."""
        self._calls.refuse_id(provider_id)
        try:
            return self._read(*await self._calls.post(f"/batches/{provider_id}/cancel"))
        except CallFailed as failure:
            if is_too_late(failure) and (look := await self.look(provider_id)).is_ended:
                return look
            raise

    async def read_results(self, look: BatchLook) -> AsyncGenerator[ItemResult, None]:
        """What came back, of the file of answers and of that of errors; either may be missing."""
        for file_id in look.files:
            self._calls.refuse_id(file_id)
            async with aclosing(self._calls.read_lines(f"/files/{file_id}/content")) as lines:
                async for line, long in lines:
                    result = make_too_long(long) if long else _read_line(self._exchange, line)
                    if result is not None:
                        yield result

    async def aclose(self) -> None:
        """Close the connections."""
        await self._exchange.aclose()

    async def _upload(self, batch_id: str, items: Iterable[BatchItem], n_items: int) -> str:
        frame = Frame(before=b"", write=_write_item, between=b"", after=b"")
        with await spool_items(items, n_items, frame=frame, limits=self._limits) as file:
            named = (f"overnight-{batch_id}.jsonl", file, "application/jsonl")
            request = self._exchange.make_request("POST", "/files", data={"purpose": "batch"}, files={"file": named})
            reply = await self._exchange.send(watch_sending(request))
        return self._calls.check_id(read_object(reply.body).get("id"), reply)

    def _read(self, reply: Reply, data: dict[str, Any]) -> BatchLook:
        status = as_text(data.get("status")) or ""
        # A word that is not known is no end: it is shown as it is.
        if not status:
            raise misshapen(self._exchange.who, reply, "a batch")
        counts = as_object(data.get("request_counts"))
        named = (data.get("output_file_id"), data.get("error_file_id"))
        return BatchLook(
            provider_id=self._calls.check_id(data.get("id"), reply),
            status=status,
            is_ended=status in _ENDED,
            n_items=as_count(counts.get("total")),
            n_done=as_count(counts.get("completed")) + as_count(counts.get("failed")),
            created_at=as_count(data.get("created_at")) or None,
            expires_at=as_count(data.get("expires_at")) or None,
            files=tuple(self._calls.check_id(name, reply) for name in named if name),
            refused=_read_refusal(as_object(data.get("errors"))) if status == "failed" else None,
        )


def _write_item(custom_id: str, body: bytes) -> bytes:
    named = orjson.dumps({"custom_id": custom_id, "method": "POST", "url": f"/v1{_PATH}"})
    return named[:-1] + b',"body":' + body + b"}\n"


def _read_refusal(errors: dict[str, Any]) -> tuple[int, str, str]:
    """Why a batch failed as a whole: the first reason speaks for all."""
    listed = errors.get("data")
    first = as_object(listed[0]) if isinstance(listed, list) and listed else {}
    code = as_text(first.get("code")) or "failed"
    return _STATUSES.get(code, 400), one_line(code, 60), one_line(as_text(first.get("message")) or "no reason given")


def _read_line(exchange: Exchange, line: dict[str, Any]) -> ItemResult | None:
    """What a line says of its request; None where it says nothing of any."""
    custom_id, response, error = as_text(line.get("custom_id")), line.get("response"), as_object(line.get("error"))
    if not custom_id:
        return None
    if isinstance(response, dict):
        # A response without a status is none that a call of its own could have.
        status = as_count(response.get("status_code")) or 500
        request_id = as_text(response.get("request_id"))
        return make_answered(exchange.hide_body, custom_id, status, response.get("body"), request_id=request_id)
    if not error:
        return None
    code = as_text(error.get("code")) or ""
    if code in _UNANSWERED:
        return ItemResult(custom_id, _UNANSWERED[code])
    return make_answered(exchange.hide_body, custom_id, _STATUSES.get(code, 500), {"error": error})
