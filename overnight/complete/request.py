"""A row as it is asked: rendered and encoded when its turn comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overnight.complete.asking import Asking
from overnight.complete.course import Course, Role
from overnight.complete.lane import Lane
from overnight.failures import CallFailed, PromptRefused
from overnight.ledger.bodies import Body, make_body
from overnight.ledger.sends import Sends
from overnight.prompts import render
from overnight.records import Ask
from overnight.taxonomy import FailureClass


class Request:
    """
    A row with its prompt, and the course that it takes.

    Args:
        asking: What it shares with the rows of its batch.
        key: The request's key.
        input_json: The row's input as canonical JSON, and as values.
        values: The same.
        sends: What the run has sent for it before.
    """

    def __init__(self, asking: Asking, key: str, input_json: str, values: Mapping[str, Any], sends: Sends) -> None:
        self.key = key
        self.input_json = input_json
        self.values = values
        self.sends = sends
        self._asking = asking
        self._question: Ask | None = None
        self._course: Course | None = None
        self._body: Body | None = None
        self._raw = b""
        if sends.failures:
            self._begin()  # which model its turn is at depends on what it has failed with

    @property
    def role(self) -> Role:
        """Which of the prompt's models it is asked next."""
        return self._course.role if self._course else "own"

    @property
    def course(self) -> Course:
        """
        What is asked next; the row is rendered by then.

        Raises:
            CallFailed: The template fails on the row.
        """
        return self._course or self._begin()

    @property
    def body(self) -> Body:
        """The exact bytes of the request as it is first asked."""
        assert self._body is not None, "it is encoded before it is opened"  # noqa: S101 - narrows the type
        return self._body

    async def encode(self, lane: Lane) -> bytes:
        """
        The exact bytes of the next send.

        Raises:
            CallFailed: A text has no JSON form.
            PromptRefused: The prompt sets a parameter that is not its own to set.
        """
        assert self._question is not None, "it is rendered before it is encoded"  # noqa: S101 - narrows the type
        if self._body is None:
            self._raw = (await self._asking.lane("own")).client.encode(self._question)
            self._body = make_body(self._raw)
        is_first = self.course.role == "own" and self.course.ask is self._question
        return self._raw if is_first else lane.client.encode(self.course.ask)

    def is_other(self, body: bytes) -> bool:
        """Whether the bytes are not those of the request as it is first asked."""
        return body != self._raw

    def _begin(self) -> Course:
        prompt = self._asking.prompt
        try:
            system, user = render(prompt, self.values)
        except PromptRefused as error:
            # On this row alone: nothing was sent, so nothing is remembered.
            raise CallFailed(FailureClass.UNRENDERABLE, str(error)) from error
        self._question = Ask(system, user, self._asking.schema, prompt.parameters)
        self._course = Course(prompt, self._question, self.sends)
        return self._course
