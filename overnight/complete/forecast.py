"""What a number of calls will take: from such calls, from those of another version, or guessed from sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import sqlalchemy as sa

from overnight.complete.estimate import Estimate, Range, estimate, stretch
from overnight.complete.mode import has_batches
from overnight.ledger.asked import PromptVersion
from overnight.ledger.usage import RequestUsage, sample_usage
from overnight.llm import DEFAULT_MAX_TOKENS, cost_usd, find_terms, parse_model
from overnight.records import Mode, ModelTerms, Prompt, Usage

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
    sample: list[RequestUsage] = []
    same_model = [v.prompt_hash for v in versions if v.model == prompt.model]
    for prompt_hash in (prompt.prompt_hash, *same_model):
        sample = sample_usage(connection, prompt_hash)
        if found := estimate(sample, n_requests):
            ground = Ground.RECORDED if prompt_hash == prompt.prompt_hash else Ground.OTHER_VERSION
            break
    else:
        found, ground = _guess(n_requests, n_characters, prompt), Ground.SIZES
    pricing = _Pricing(prompt.model, find_terms(terms, prompt.model), n_requests)
    costs = {mode: pricing.price_sample(sample, mode) or pricing.price(found, mode) for mode in pricing.modes}
    found = replace(found, cost_usd=costs[Mode.ONLINE], batch_cost_usd=costs.get(Mode.BATCH))
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


@dataclass(frozen=True)
class _Pricing:
    """What a number of requests cost of one model, in each of the ways to ask it."""

    model: str
    terms: ModelTerms | None
    n_requests: int

    @property
    def modes(self) -> list[Mode]:
        return [Mode.ONLINE, *([Mode.BATCH] if has_batches(parse_model(self.model)) else [])]

    def price_sample(self, sample: Sequence[RequestUsage], mode: Mode) -> Range | None:
        """
        As such requests were paid, where all of the sample were asked that way; else by the tokens that they took.

        What was answered in batches cost half, and would make the forecast of single calls half too low.
        """
        if all((usage.n_batch_calls > 0) is (mode is Mode.BATCH) for usage in sample):
            costs = [usage.cost_usd for usage in sample]
        else:
            costs = [self._price_request(usage, mode) for usage in sample]
        known = [cost for cost in costs if cost is not None]
        return stretch(known, self.n_requests) if known else None

    def price(self, needs: Estimate, mode: Mode) -> Range | None:
        """By the call: a price may rise with the length of one."""
        n = self.n_requests or 1
        low, high = (
            self._cost_usd(Usage(round(n_in / n), round(n_out / n)), mode)
            for n_in, n_out in (
                (needs.input_tokens.low, needs.output_tokens.low),
                (needs.input_tokens.high, needs.output_tokens.high),
            )
        )
        return None if low is None or high is None else Range(low * n, high * n)

    def _price_request(self, taken: RequestUsage, mode: Mode) -> float | None:
        counts = (taken.input_tokens, taken.output_tokens, taken.cache_read_tokens, taken.cache_write_tokens)
        cost = self._cost_usd(Usage(*(n // taken.n_calls for n in counts)), mode)
        return None if cost is None else cost * taken.n_calls

    def _cost_usd(self, usage: Usage, mode: Mode) -> float | None:
        return cost_usd(parse_model(self.model), usage, self.terms, mode)
