"""What a number of calls will take: from such calls, from those of another version, or guessed from sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import sqlalchemy as sa

from overnight.complete.estimate import Estimate, Range, estimate
from overnight.ledger.asked import PromptVersion
from overnight.ledger.usage import sample_usage
from overnight.llm import DEFAULT_MAX_TOKENS, cost_usd, find_terms, parse_model
from overnight.records import ModelTerms, Prompt, Usage

#: Characters that a token stands for: few in code and rare scripts, many in plain English.
_MOST_CHARACTERS, _LEAST_CHARACTERS = 6, 3


class Ground(StrEnum):
    """What an estimate is made from."""

    RECORDED = "recorded usage"
    OTHER_VERSION = "another version of the prompt"
    SIZES = "sizes"


@dataclass(frozen=True)
class Forecast:
    """What a step's calls will take, and how well that is known."""

    needs: Estimate
    ground: Ground


def forecast(
    n_requests: int,
    n_characters: int,
    prompt: Prompt,
    versions: Sequence[PromptVersion],
    *,
    connection: sa.Connection,
    terms: Sequence[ModelTerms],
) -> Forecast:
    """
    What the requests will take.

    Args:
        n_requests: How many have no answer yet.
        n_characters: Of all their inputs.
        prompt: What they ask.
        versions: What else was asked under the prompt's name, newest first.
        connection: To the ledger.
        terms: What the project declares of its models.
    """
    same_model = [v.prompt_hash for v in versions if v.model == prompt.model]
    for prompt_hash in (prompt.prompt_hash, *same_model):
        if found := estimate(sample_usage(connection, prompt_hash), n_requests):
            ground = Ground.RECORDED if prompt_hash == prompt.prompt_hash else Ground.OTHER_VERSION
            break
    else:
        found, ground = _guess(n_requests, n_characters, prompt), Ground.SIZES
    if found.cost_usd is None:
        found = replace(found, cost_usd=_price(found, n_requests, prompt, terms))
    return Forecast(found, ground)


def _guess(n_requests: int, n_characters: int, prompt: Prompt) -> Estimate:
    """One call a request, with its schema or without; nobody knows how long an answer will be, but for its cap."""
    n_in = n_requests * len(prompt.template) + n_characters
    n_with_schema = n_in + n_requests * len(prompt.schema)
    max_tokens = prompt.parameters.get("max_tokens", DEFAULT_MAX_TOKENS)
    return Estimate(
        calls=Range(n_requests, n_requests),
        input_tokens=Range(n_in / _MOST_CHARACTERS, n_with_schema / _LEAST_CHARACTERS),
        output_tokens=Range(n_requests, n_requests * max_tokens),
        cost_usd=None,
    )


def _price(needs: Estimate, n_requests: int, prompt: Prompt, terms: Sequence[ModelTerms]) -> Range | None:
    """By the call: a price may rise with the length of one."""
    declared = find_terms(terms, prompt.model)
    n = n_requests or 1
    low, high = (
        cost_usd(parse_model(prompt.model), Usage(round(n_in / n), round(n_out / n)), declared)
        for n_in, n_out in (
            (needs.input_tokens.low, needs.output_tokens.low),
            (needs.input_tokens.high, needs.output_tokens.high),
        )
    )
    return None if low is None or high is None else Range(low * n, high * n)
