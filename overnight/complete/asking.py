"""What the requests of a batch share, and what becomes of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from overnight.checks import BatchMemory, Checks
from overnight.complete.context import RunContext
from overnight.complete.course import Role
from overnight.complete.engine import Engine
from overnight.complete.lane import Lane
from overnight.llm import AnswerValidator, endpoint_of, parse_model
from overnight.records import Prompt, RowState


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

    async def lane(self, role: Role) -> Lane:
        """The lane to the prompt's own model, or to one that it declares besides."""
        if role == "own":
            return await self.engine.lane(self.prompt.model, self.prompt.endpoint)
        model = self.prompt.stronger if role == "stronger" else self.prompt.fallback
        assert model is not None, "a course turns only to a model that is declared"  # noqa: S101 - narrows the type
        return await self.engine.lane(model, endpoint_of(parse_model(model)))
