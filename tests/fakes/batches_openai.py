"""OpenAI's files and batches for the fake provider."""

from __future__ import annotations

import json
import secrets
from typing import Any

from aiohttp import web

from tests.fakes.batches import OPENAI, Done, FakeBatch, FakeBatches, FakeItem, Refusal, find_expiry, make_id

_MAX_ITEMS, _MAX_BYTES = 50_000, 200_000_000
_FILE_KINDS = ("output", "error")


class OpenAISide:
    """The paths of one API; its state besides the batches: the files that were uploaded."""

    def __init__(self, batches: FakeBatches) -> None:
        self._batches = batches
        self._files: dict[str, bytes] = {}

    def mount(self, app: web.Application) -> None:
        """Answer at the paths."""
        for method, path, on, handler in (
            ("POST", "/v1/files", "upload", self._upload),
            ("GET", "/v1/files/{id}/content", "results", self._read_file),
            ("POST", "/v1/batches", "create", self._create),
            ("GET", "/v1/batches", "list", self._list),
            ("GET", "/v1/batches/{id}", "look", self._look),
            ("POST", "/v1/batches/{id}/cancel", "cancel", self._cancel),
        ):
            app.router.add_route(method, path, self._guard(on, handler))

    def _guard(self, on: str, handler: Any) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            async def carry_out() -> web.Response:
                try:
                    return await handler(request, _find_owner(request))
                except Refusal as refusal:
                    error = {"message": refusal.message, "type": "invalid_request_error", "code": refusal.code}
                    return web.json_response({"error": error}, status=refusal.status)

            return await self._batches.respond(request, on, carry_out)

        return answer

    async def _upload(self, request: web.Request, _: str) -> web.Response:
        form = await request.post()
        file = form.get("file")
        if form.get("purpose") != "batch" or not isinstance(file, web.FileField):
            raise Refusal(400, "purpose must be batch, and file a file")
        if not file.filename.endswith(".jsonl"):
            raise Refusal(400, "Invalid file format for Batch API. Must be .jsonl")
        content = file.file.read()
        if len(content) > (self._batches.max_bytes or _MAX_BYTES):
            raise Refusal(413, "The file is too large")
        file_id = f"file-{secrets.token_hex(8)}"
        self._files[file_id] = content
        return web.json_response({"id": file_id, "object": "file", "purpose": "batch", "bytes": len(content)})

    async def _create(self, request: web.Request, owner: str) -> web.Response:
        body = json.loads(await request.read())
        if body.get("endpoint") != "/v1/chat/completions" or body.get("completion_window") != "24h":
            raise Refusal(400, "endpoint or completion_window is not one that exists")
        content = self._files.get(body.get("input_file_id", ""))
        if content is None:
            raise Refusal(400, "No such file")
        # Faults in the file come to light later, when it is validated.
        items, refused = self._validate(content)
        batch = FakeBatch(
            OPENAI,
            make_id(OPENAI),
            owner,
            items,
            self._batches.clock(),
            metadata=body.get("metadata") or {},
            input_file_id=body["input_file_id"],
            raw=content,
            refused=self._batches.fails.pop(0) if self._batches.fails else refused,
        )
        self._batches.received.append(batch)
        return web.json_response(self._show(batch, "validating"))

    def _validate(self, content: bytes) -> tuple[list[FakeItem], tuple[str, str] | None]:
        lines = [json.loads(line) for line in content.splitlines()]
        items = [FakeItem(line["custom_id"], line["body"]) for line in lines]
        if any((line["method"], line["url"]) != ("POST", "/v1/chat/completions") for line in lines):
            return items, ("mismatched_url", "A line has another url than the batch")
        if len(items) > (self._batches.max_items or _MAX_ITEMS):
            return items, ("too_many_tasks", "The batch input file contains too many requests")
        if len({item.custom_id for item in items}) < len(items):
            return items, ("duplicate_custom_id", "The custom_id of a line is that of another one")
        if len({item.body["model"] for item in items}) > 1:
            return items, ("mismatched_model", "The lines name more than one model")
        return items, None if items else ("empty_file", "The batch input file is empty")

    async def _look(self, request: web.Request, owner: str) -> web.Response:
        batch = self._batches.find(OPENAI, request.match_info["id"], owner)
        await self._batches.settle(batch, is_look=True)
        return web.json_response(self._show(batch))

    async def _list(self, request: web.Request, owner: str) -> web.Response:
        limit = int(request.query.get("limit", "20"))
        if not 1 <= limit <= 100:
            raise Refusal(400, "limit is from 1 to 100")
        page, has_more = self._batches.list_page(OPENAI, owner, limit, request.query.get("after"))
        for batch in page:
            await self._batches.settle(batch, is_look=True)
        data = [self._show(batch) for batch in page]
        return web.json_response({"object": "list", "data": data, "has_more": has_more})

    async def _cancel(self, request: web.Request, owner: str) -> web.Response:
        batch = self._batches.find(OPENAI, request.match_info["id"], owner)
        if batch.done is not None:
            raise Refusal(409, f"Cannot cancel a batch with status '{self._name_status(batch)}'.")
        batch.canceled_at_look = batch.n_looks
        return web.json_response(self._show(batch, "cancelling"))

    async def _read_file(self, request: web.Request, owner: str) -> web.Response:
        file_id = request.match_info["id"]
        for batch in self._batches.received:
            for kind in _FILE_KINDS:
                if batch.done is not None and batch.owner == owner and file_id == self._name_file(batch, kind):
                    lines = [json.dumps(_show_done(done)) for done in _choose(batch.done, kind)]
                    return web.Response(body="".join(f"{line}\n" for line in lines).encode())
        raise Refusal(404, f"No such File object: {file_id}")

    def _show(self, batch: FakeBatch, status: str | None = None) -> dict[str, Any]:
        done = batch.done or []
        n_shown = int(self._batches.progress * len(batch.items)) if batch.done is None else len(_choose(done, "output"))
        errors = None
        if batch.refused is not None and batch.done is not None:
            code, message = batch.refused
            errors = {"object": "list", "data": [{"code": code, "message": message, "line": None, "param": None}]}
        return {
            "id": batch.provider_id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": batch.input_file_id,
            "completion_window": "24h",
            "status": status or self._name_status(batch),
            "output_file_id": self._name_file(batch, "output"),
            "error_file_id": self._name_file(batch, "error"),
            "created_at": int(batch.created_at),
            "expires_at": int(find_expiry(batch)),
            "request_counts": {
                "total": 0 if batch.refused else len(batch.items),
                "completed": n_shown,
                "failed": len(_choose(done, "error")),
            },
            "errors": errors,
            "metadata": batch.metadata,
        }

    def _name_status(self, batch: FakeBatch) -> str:
        if batch.done is None:
            return "in_progress" if batch.canceled_at_look is None else "cancelling"
        if batch.refused is not None:
            return "failed"
        if batch.canceled_at_look is not None and not batch.is_told_to_end:
            return "cancelled"
        return "expired" if any(done.kind == "expired" for done in batch.done) else "completed"

    def _name_file(self, batch: FakeBatch, kind: str) -> str | None:
        """Where the results of a kind are; None where there are none."""
        return f"file-{kind}-{batch.provider_id}" if batch.done and _choose(batch.done, kind) else None


def _find_owner(request: web.Request) -> str:
    named = request.headers.get("authorization", "")
    if not named.startswith("Bearer "):
        raise Refusal(401, "You didn't provide an API key", "invalid_api_key")
    return named.removeprefix("Bearer ")


def _choose(done: list[Done], kind: str) -> list[Done]:
    return [d for d in done if (d.kind == "answered" and d.status == 200) == (kind == "output")]


def _show_done(done: Done) -> dict[str, Any]:
    line = {"id": f"batch_req_{secrets.token_hex(6)}", "custom_id": done.item.custom_id}
    if done.kind == "answered":
        response = {"status_code": done.status, "request_id": secrets.token_hex(8), "body": done.body}
        return {**line, "response": response, "error": None}
    code = {"expired": "batch_expired", "canceled": "batch_cancelled"}[done.kind]
    return {**line, "response": None, "error": {"code": code, "message": "This request was not executed."}}
