"""The counter of the inbox: takes a row in, and says where a request stands."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import orjson

from overnight.failures import InputRefused, LedgerRefused, PromptRefused
from overnight.inbox import Submitted, find, look, submit
from overnight.ledger import Ledger
from overnight.ledger.inbox import InboxRequest
from overnight.records import InboxState
from overnight.serve.problems import Refused, come_back
from overnight.serve.room import Room
from overnight.serve.saying import say
from overnight.serve.shapes import KEY_PATTERN
from overnight.serve.shelf import Asked, Shelf

T = TypeVar("T")

#: Threads that wait for a commit: what they hand in together becomes one.
_N_WRITING = 32
#: Threads that read: fewer than the connections that the ledger keeps.
_N_READING = 8
_SETTLED = (InboxState.ANSWERED, InboxState.CLOSED)


class Counter:
    """
    What the routes do.

    Args:
        ledger: Where requests are kept.
        shelf: The prompts that may be asked.
        most_queued: Requests to one prompt that may wait.
    """

    def __init__(self, ledger: Ledger, shelf: Shelf, *, most_queued: int) -> None:
        self._ledger = ledger
        self._shelf = shelf
        self._room = Room(ledger, most_queued)
        self._writing = anyio.CapacityLimiter(_N_WRITING)
        self._reading = anyio.CapacityLimiter(_N_READING)

    async def take(self, prompt: str, body: bytes, client: str) -> tuple[int, dict[str, Any]]:
        """
        Keep the body's row as a request to the prompt; the status, and the answer.

        Raises:
            Refused: The prompt is none, the row does not fit it, the inbox is full, or the ledger away.
        """
        kept = await self._work(self._writing, lambda: self._keep(prompt, body, client))
        state = InboxState.QUEUED
        # No answer is shown here: nobody has read one by this.
        if not kept.is_new and (request := await self._find(look, kept.inbox_key)):
            state = request.state
        url = f"/v1/requests/{prompt}/{kept.inbox_key}"
        answer = {"key": kept.inbox_key, "state": state, "is_new": kept.is_new, "url": url}
        return 200 if state in _SETTLED else 202, answer

    async def show(self, prompt: str, key: str) -> bytes:
        """
        Where the request of this key stands, as JSON; the answer is byte for byte what was released.

        Raises:
            Refused: There is no such request to this prompt, or the ledger is away.
        """
        request = await self._find(find, key) if re.fullmatch(KEY_PATTERN, key) else None
        if request is None or request.prompt != prompt:
            raise Refused(404, "No request has this key. Hand the row in, and use the key in the answer.")
        return orjson.dumps(
            {
                "key": request.inbox_key,
                "prompt": request.prompt,
                "row_id": request.row_id,
                "state": request.state,
                "received_at": _tell_time(request.received_at),
                "settled_at": None if request.settled_at is None else _tell_time(request.settled_at),
                "run_id": request.run_id,
                "answer": None if request.answer is None else orjson.Fragment(request.answer),
                "reason": request.reason,
            }
        )

    def _keep(self, name: str, body: bytes, client: str) -> Submitted:
        asked = self._find_prompt(name)
        row = parse_row(body)
        if complaint := asked.complain(row):
            raise InputRefused(complaint)
        _write_whole(row, asked.prompt.id_column)
        if not self._room.has_place(name):
            raise come_back(
                503, f"As many requests to {name} wait as may. Send it again once a run has taken some.", 60
            )
        kept = submit(row, asked.prompt, ledger=self._ledger, sent_by=f"http:{client}", now=time.time())
        if kept.is_new:
            self._room.add(name)
        return kept

    def _find_prompt(self, name: str) -> Asked:
        if asked := self._shelf.find(name):
            return asked
        known = ", ".join(self._shelf.list_names()) or "none"
        raise Refused(404, f"There is no prompt {name[:100]!r} here. There are: {known}.")

    async def _find(self, by: Callable[..., InboxRequest | None], key: str) -> InboxRequest | None:
        return await self._work(self._reading, lambda: by(key, ledger=self._ledger))

    async def _work(self, threads: anyio.CapacityLimiter, job: Callable[[], T]) -> T:
        """The job's result, from a thread that may wait; what stands in its way, as a problem."""
        try:
            return await anyio.to_thread.run_sync(job, limiter=threads)
        except InputRefused as error:
            raise Refused(422, str(error)) from error
        except PromptRefused as error:
            say(error)
            raise come_back(503, "The prompt cannot be read: its owner is told why.", 60) from error
        except LedgerRefused as error:
            say(error)
            raise come_back(503, "The ledger is away. What was acknowledged is kept; send this again.", 10) from error


def parse_row(body: bytes) -> dict[str, Any]:
    """
    The row of a body {"row": {...}}.

    Raises:
        InputRefused: It is no such JSON, or holds a number that none of ours keeps.
    """
    try:
        # The first is strict, about surrogates and numbers without an end; but it makes a float of a whole number
        # beyond 64 bits, and nobody would see it.
        orjson.loads(body)
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputRefused(f'The body is no JSON in UTF-8 ({str(error)[:200]}). Send {{"row": {{…}}}}.') from error
    if not isinstance(given, dict) or given.keys() != {"row"} or not isinstance(given["row"], dict):
        raise InputRefused('The body is not {"row": {…}}, with the row\'s fields in it. Send that and nothing else.')
    row: dict[str, Any] = given["row"]
    return row


def _write_whole(row: dict[str, Any], id_column: str | None) -> None:
    """In JSON 7.0 is the same number as 7: as the name of a row it is that one."""
    if id_column and isinstance(value := row[id_column], float):
        row[id_column] = int(value)


def _tell_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
