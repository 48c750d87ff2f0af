"""A client for the batches of whichever provider serves a model."""

from __future__ import annotations

from overnight.failures import ModelRefused
from overnight.llm.batches.protocol import BatchClient, Limits
from overnight.llm.model import ModelRef, api_key_of, check_ready

#: Besides its body a request takes fewer bytes in a batch, its share of what is around them all included.
MAX_BYTES_BESIDE = 256

_LIMITS = {
    "openai": Limits(n_items=50_000, n_bytes=200_000_000),
    "anthropic": Limits(n_items=100_000, n_bytes=256_000_000),
}


def find_limits(model: ModelRef) -> Limits | None:
    """What one batch of the provider may hold; None where it has no batches."""
    return _LIMITS.get(model.provider)


async def make_batch_client(model: ModelRef, *, endpoint: str, timeout_s: float) -> BatchClient:
    """
    A client for batches of the model at the endpoint.

    Args:
        model: Whom to ask.
        endpoint: As a run has pinned it.
        timeout_s: How long one exchange may take, but for the time that its bytes take.

    Raises:
        ModelRefused: The provider has no batches, or the key is missing.
    """
    limits = find_limits(model)
    if limits is None:
        raise ModelRefused(
            f"{model} has no provider batches: they are of openai and anthropic. "
            "Take --mode online, or choose another --model."
        )
    check_ready(model)
    key = api_key_of(model)
    if model.provider == "anthropic":
        from overnight.llm.batches.anthropic import AnthropicBatches  # noqa: PLC0415 - half a second of imports

        return AnthropicBatches(model, endpoint=endpoint, api_key=key, timeout_s=timeout_s, limits=limits)
    from overnight.llm.batches.openai import OpenAIBatches  # noqa: PLC0415 - half a second of imports

    return OpenAIBatches(model, endpoint=endpoint, api_key=key, timeout_s=timeout_s, limits=limits)
