"""From a prompt folder to the exact thing that is asked: the prompt with its model and endpoint."""

from __future__ import annotations

from dataclasses import replace

from overnight import keys
from overnight.failures import ModelRefused
from overnight.llm import check_ready, endpoint_of, find_terms, parse_model, worst_usd
from overnight.records import Prompt
from overnight.settings import Settings


def resolve_prompt(prompt: Prompt, model: str | None = None, *, endpoint: str | None = None) -> Prompt:
    """
    The prompt with its model, endpoint and hash.

    Args:
        prompt: As it was loaded.
        model: PROVIDER:NAME; None: the prompt's own.
        endpoint: One that a run has pinned; None: as the environment says, and the model must be ready for calls.

    Raises:
        ModelRefused: The name is not one of a known provider, or its key or file is missing.
    """
    reference = parse_model(model or prompt.model)
    if endpoint is None:
        for each in (reference, *(parse_model(other) for other in (prompt.stronger, prompt.fallback) if other)):
            check_ready(each)
        endpoint = endpoint_of(reference)
    name = f"{reference.provider}:{reference.name}"
    return replace(
        prompt,
        model=name,
        endpoint=endpoint,
        prompt_hash=keys.prompt_hash(
            text=prompt.text, schema=prompt.schema, model=name, endpoint=endpoint, parameters=prompt.parameters
        ),
    )


def refuse_unpriced(prompt: Prompt, settings: Settings) -> None:
    """
    Under a budget, refuse a model without a price before anything is paid for.

    Raises:
        ModelRefused: No price is known for a model that the prompt may ask.
    """
    if settings.budget_usd is None and settings.nightly_budget_usd is None:
        return
    for model in (prompt.model, prompt.stronger, prompt.fallback):
        if model and worst_usd(parse_model(model), b"", 1, find_terms(settings.terms, model)) is None:
            raise ModelRefused(
                f"There is a budget, but no price is known for {model}. Declare one in pyproject.toml under"
                f' [tool.overnight.models."{model}"], or run without a budget.'
            )
