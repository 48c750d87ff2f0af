"""What the requests of a batch share, and what becomes of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from overnight.checks import BatchMemory, Checks
from overnight.complete.context import RunContext
from overnight.complete.course import Course, Role
from overnight.complete.engine import Engine
from overnight.complete.lane import Lane
from overnight.ledger.provider_batch_items import Arrived
from overnight.llm import AnswerValidator, endpoint_of, parse_model
from overnight.records import Prompt, RowState
from overnight.taxonomy import FailureClass


class Outcome(NamedTuple):
    """What became of a request: columns of its row in the part."""

    state: RowState
    #: The accepted answer as canonical JSON.
    output: str | None = None
    failure_class: str | None = None
    rule: str | None = None
    reason: str | None = None
    #: Where another model than the prompt's answered.
    model: str | None = None


@dataclass(frozen=True)
class Asking:
    """What the requests of one batch share."""

    engine: Engine
    context: RunContext
    prompt: Prompt
    checks: Checks
    #: Where a check compares answers with one another.
    memory: BatchMemory | None
    validator: AnswerValidator
    schema: Mapping[str, Any]
    #: Requests for which an answer came with a provider batch that nobody has judged.
    arrived: set[str] = field(default_factory=set)

    async def lane(self, role: Role) -> Lane:
        """The lane to the prompt's own model, or to one that it declares besides."""
        if role == "own":
            return await self.engine.lane(self.prompt.model, self.prompt.endpoint)
        model = self.prompt.stronger if role == "stronger" else self.prompt.fallback
        assert model is not None, "a course turns only to a model that is declared"  # noqa: S101 - narrows the type
        return await self.engine.lane(model, endpoint_of(parse_model(model)))

    async def take_arrived(self, key: str) -> Arrived | None:
        """The answer that came for the request, for this process to judge; None where another one does."""
        self.arrived.discard(key)
        return await self.engine.ledger.record(self.engine.take_arrived, key)


def leave(course: Course) -> Outcome:
    """The run has sent the row as often as it may: it stays pending, with its last failure."""
    failure_class, message = course.last or (FailureClass.TIMEOUT, "It was sent as often as it may be.")
    failure_class = FailureClass.TIMEOUT if failure_class == "open" else failure_class
    return Outcome(RowState.PENDING, None, failure_class, None, message)
