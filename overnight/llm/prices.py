"""What a call cost, and what it may cost at worst, by the list prices that genai-prices ships."""

from __future__ import annotations

from overnight.llm.model import ModelRef
from overnight.records import Usage


def cost_usd(model: ModelRef, usage: Usage) -> float | None:
    """The list price of the tokens used; 0 for the embedded model, None where no price is known."""
    if model.provider == "local":
        return 0.0
    import genai_prices  # noqa: PLC0415 - half a second of imports, and a run without a budget needs none before its end

    tokens = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    try:
        return float(genai_prices.calc_price(tokens, model.name, provider_id=model.provider).total_price)
    except LookupError:
        return None


def worst_usd(model: ModelRef, body: bytes, max_tokens: int) -> float | None:
    """
    An upper bound of a call's price before it is sent; None where no price is known.

    One token per two bytes of the body, rounded up: no text in use comes near it (English is at four),
    though a body of nothing but rare characters could pass it.
    """
    return cost_usd(model, Usage(input_tokens=(len(body) + 1) // 2, output_tokens=max_tokens))
