"""Replays: a recorded request is sent again and judged as it was then; nobody is offered what comes of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from overnight.complete.recorded import Answer, Recorded
from overnight.complete.resend import Resending
from overnight.complete.resolve import resolve_prompt
from overnight.failures import ModelRefused, PromptRefused
from overnight.ledger import Ledger
from overnight.llm import check_ready, endpoint_of, parse_model
from overnight.prompts import load_prompt
from overnight.records import Prompt
from overnight.settings import Settings


@dataclass(frozen=True)
class Replay:
    """A recorded request with what it was answered, and what came when it was sent again."""

    recorded: Recorded
    #: What was asked now: with its model, endpoint and hash.
    prompt: Prompt
    #: Whether it is the recorded request byte for byte.
    is_same_request: bool
    #: One for each time; fewer where a failure would have met each of them.
    answers: tuple[Answer, ...]


def replay(
    recorded: Recorded, *, model: str | None, prompt_name: str | None, times: int, asked_by: str, ledger: Ledger,
    settings: Settings,
) -> Replay:  # fmt: skip
    """
    Send a recorded request again, and judge what comes by the prompt's schema and the run's row checks.

    Args:
        recorded: What was asked, and what came of it.
        model: PROVIDER:NAME of another model; None: the recorded one, where it was asked.
        prompt_name: Today's prompt of this name on the recorded input; None: the recorded one.
        times: How often.
        asked_by: Who wants to know.
        ledger: Where each send is recorded, before it is made and after.
        settings: The nightly cap, the deadline of a call, and what the project declares of models.

    Raises:
        ModelRefused: The model cannot be asked, or there is a cap and no price for it.
        PromptRefused: There is no such prompt, or the recorded input does not fit it.
        CallFailed: The nightly cap leaves no room for the call.
    """
    prompt = _choose_prompt(recorded, model, prompt_name)
    is_same = model is None and prompt_name is None
    resending = Resending(recorded, prompt, is_same, asked_by, ledger, settings)
    return Replay(recorded, prompt, is_same, tuple(asyncio.run(resending.send_all(times))))


def _choose_prompt(recorded: Recorded, model: str | None, prompt_name: str | None) -> Prompt:
    prompt = recorded.prompt
    if prompt_name:
        prompt = load_prompt(prompt_name)
        _refuse_unfit_input(prompt, recorded)
    # One thing differs at a time: where no other model is named, the recorded one is asked where it was asked.
    reference = parse_model(model or recorded.prompt.model)
    check_ready(reference)
    endpoint = endpoint_of(reference) if model else recorded.prompt.endpoint
    if reference.provider == "local" and endpoint != endpoint_of(reference):
        raise ModelRefused(
            f"Request {recorded.key[:12]} was answered by {reference} of the file {endpoint}, and this version carries"
            f" {endpoint_of(reference)}: the same bytes would ask another model. Ask that one: --model {reference}."
        )
    return resolve_prompt(prompt, str(reference), endpoint=endpoint)


def _refuse_unfit_input(prompt: Prompt, recorded: Recorded) -> None:
    if missing := [name for name in prompt.inputs if recorded.given.get(name) in (None, "")]:
        raise PromptRefused(
            f"Prompt {prompt.name} reads {', '.join(missing)}, and the recorded input of request"
            f" {recorded.key[:12]} has {', '.join(sorted(recorded.given))}. Choose another prompt, or another row."
        )
