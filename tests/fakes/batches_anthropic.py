"""Anthropic's message batches for the fake provider."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.fakes.batches import ANTHROPIC, Done, FakeBatch, FakeBatches, FakeItem, Refusal, find_expiry, make_id

_MAX_ITEMS, _MAX_BYTES = 100_000, 256_000_000
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
}


class AnthropicSide:
    """The paths of one API."""

    def __init__(self, batches: FakeBatches) -> None:
        self._batches = batches

    def mount(self, app: web.Application) -> None:
        """Answer at the paths."""
        path = "/v1/messages/batches"
        for method, place, on, handler in (
            ("POST", path, "create", self._create),
            ("GET", path, "list", self._list),
            ("GET", path + "/{id}", "look", self._look),
            ("POST", path + "/{id}/cancel", "cancel", self._cancel),
            ("GET", path + "/{id}/results", "results", self._read_results),
        ):
            app.router.add_route(method, place, self._guard(on, handler))

    def _guard(self, on: str, handler: Any) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            async def carry_out() -> web.Response:
                try:
                    return await handler(request, _find_owner(request))
                except Refusal as refusal:
                    error = {"type": _TYPES[refusal.status], "message": refusal.message}
                    return web.json_response({"type": "error", "error": error}, status=refusal.status)

            return await self._batches.respond(request, on, carry_out)

        return answer

    async def _create(self, request: web.Request, owner: str) -> web.Response:
        raw = await request.read()
        if len(raw) > (self._batches.max_bytes or _MAX_BYTES):
            raise Refusal(413, "Request exceeds the maximum size")
        items = [FakeItem(r["custom_id"], r["params"]) for r in json.loads(raw)["requests"]]
        if not 1 <= len(items) <= (self._batches.max_items or _MAX_ITEMS):
            raise Refusal(400, f"requests: {len(items)} are not a number that is allowed")
        if any(_CUSTOM_ID.fullmatch(item.custom_id) is None for item in items):
            raise Refusal(400, f"requests.custom_id: String should match pattern '^{_CUSTOM_ID.pattern}$'")
        if len({item.custom_id for item in items}) < len(items):
            raise Refusal(400, "requests.custom_id: Must be unique")
        batch = FakeBatch(ANTHROPIC, make_id(ANTHROPIC), owner, items, self._batches.clock(), raw=raw)
        self._batches.received.append(batch)
        return web.json_response(self._show(batch))

    async def _look(self, request: web.Request, owner: str) -> web.Response:
        batch = self._batches.find(ANTHROPIC, request.match_info["id"], owner)
        await self._batches.settle(batch, is_look=True)
        return web.json_response(self._show(batch))

    async def _list(self, request: web.Request, owner: str) -> web.Response:
        limit = int(request.query.get("limit", "20"))
        if not 1 <= limit <= 1000:
            raise Refusal(400, "limit is from 1 to 1000")
        page, has_more = self._batches.list_page(ANTHROPIC, owner, limit, request.query.get("after_id"))
        for batch in page:
            await self._batches.settle(batch, is_look=True)
        ends = {"first_id": page[0].provider_id, "last_id": page[-1].provider_id} if page else {}
        return web.json_response({"data": [self._show(batch) for batch in page], "has_more": has_more, **ends})

    async def _cancel(self, request: web.Request, owner: str) -> web.Response:
        batch = self._batches.find(ANTHROPIC, request.match_info["id"], owner)
        if batch.done is not None:
            raise Refusal(400, f"Batch {batch.provider_id} cannot be canceled: it has ended")
        batch.canceled_at_look = batch.n_looks
        return web.json_response(self._show(batch))

    async def _read_results(self, request: web.Request, owner: str) -> web.Response:
        batch = self._batches.find(ANTHROPIC, request.match_info["id"], owner)
        if batch.done is None:
            raise Refusal(404, f"Batch {batch.provider_id} has no results yet")
        lines = [json.dumps({"custom_id": d.item.custom_id, "result": _show_done(d)}) for d in batch.done]
        return web.Response(body="".join(f"{line}\n" for line in lines).encode(), content_type="application/x-jsonl")

    def _show(self, batch: FakeBatch) -> dict[str, Any]:
        going = "in_progress" if batch.canceled_at_look is None else "canceling"
        kinds = [_name_kind(done) for done in batch.done or []]
        url = self._batches.results_url or f"https://api.anthropic.com/v1/messages/batches/{batch.provider_id}/results"
        return {
            "id": batch.provider_id,
            "type": "message_batch",
            "processing_status": going if batch.done is None else "ended",
            "request_counts": {
                # All of them until the whole has ended.
                "processing": len(batch.items) if batch.done is None else 0,
                **{kind: kinds.count(kind) for kind in ("succeeded", "errored", "canceled", "expired")},
            },
            "created_at": _show_time(batch.created_at),
            "expires_at": _show_time(find_expiry(batch)),
            "results_url": None if batch.done is None else url,
        }


def _find_owner(request: web.Request) -> str:
    key = request.headers.get("x-api-key", "")
    if not key or "anthropic-version" not in request.headers:
        raise Refusal(401, "x-api-key and anthropic-version headers are required")
    return key


def _name_kind(done: Done) -> str:
    if done.kind != "answered":
        return done.kind
    return "succeeded" if done.status == 200 else "errored"


def _show_done(done: Done) -> dict[str, Any]:
    kind = _name_kind(done)
    if kind == "succeeded":
        return {"type": kind, "message": done.body}
    return {"type": kind, "error": done.body} if kind == "errored" else {"type": kind}


def _show_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
