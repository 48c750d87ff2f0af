"""What a call cost, and what it may cost at worst: by the project's own prices, else by genai-prices' list."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from overnight.llm.model import ModelRef
from overnight.records import Mode, ModelTerms, Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

_MILLION = 1_000_000


def cost_usd(model: ModelRef, usage: Usage, terms: ModelTerms | None = None, mode: Mode = Mode.ONLINE) -> float | None:
    """
    The price of the tokens used.

    Args:
        model: Who answered; where nothing is declared the embedded model costs 0.
        usage: As the provider counted; cached tokens are among the input tokens.
        terms: What the project declares of this model: its prices win, for cached tokens too.
        mode: How it was asked; where no price of provider batches is known, the one of a call of its own counts.

    Returns:
        None where no price is known, or the counts contradict each other.
    """
    if declared := _find_declared(terms, mode):
        paid = usage.input_tokens * declared[0] + usage.output_tokens * declared[1]
        return paid / _MILLION
    if model.provider == "local":
        return 0.0
    price = _find_price(model, mode, _this_minute())
    return _add_up(price, usage) if price else None


def has_batch_price(model: ModelRef, terms: ModelTerms | None = None) -> bool:
    """Whether a price of provider batches is known; where it is not, they count as calls one by one."""
    if terms and terms.batch_input_usd_per_million is not None:
        return True
    if _find_declared(terms, Mode.ONLINE):
        return False
    return _find_price(model, Mode.BATCH, _this_minute()) is not _find_price(model, Mode.ONLINE, _this_minute())


def _find_declared(terms: ModelTerms | None, mode: Mode) -> tuple[float, float] | None:
    """What a million tokens cost of the input and of the output."""
    if terms is None:
        return None
    pairs = [(terms.input_usd_per_million, terms.output_usd_per_million)]
    if mode is Mode.BATCH:
        pairs.insert(0, (terms.batch_input_usd_per_million, terms.batch_output_usd_per_million))
    return next(((of_in, of_out) for of_in, of_out in pairs if of_in is not None and of_out is not None), None)


def find_terms(terms: Sequence[ModelTerms], model: str) -> ModelTerms | None:
    """What the project declares of a model, PROVIDER:NAME."""
    return next((t for t in terms if t.model == model), None)


def worst_usd(
    model: ModelRef, body: bytes, max_tokens: int, terms: ModelTerms | None = None, mode: Mode = Mode.ONLINE
) -> float | None:
    """
    An upper bound of a call's price before it is sent; None where no price is known.

    One token a byte of the body: no tokeniser makes more of it, and digits and rare scripts come near it.
    """
    return cost_usd(model, Usage(input_tokens=len(body), output_tokens=max_tokens), terms, mode)


def _this_minute() -> datetime:
    """Prices change on a day, or at a time of it: none in the midst of a minute."""
    return datetime.now(tz=UTC).replace(second=0, microsecond=0)


@functools.lru_cache(maxsize=64)
def _find_price(model: ModelRef, mode: Mode, at: datetime) -> ModelPrice | None:
    """The list's price at that time; of provider batches, the very one of calls where they have none of their own."""
    listed = _find_listed(model)
    if listed is None:
        return None
    online = listed.get_prices(at)
    if mode is Mode.ONLINE:
        return online
    in_batch = listed.get_prices(at, {"processing": "batch"})
    return online if in_batch == online else in_batch


@functools.cache
def _find_listed(model: ModelRef) -> ModelInfo | None:
    """The model in the list; its prices may depend on the day."""
    from genai_prices import data_snapshot  # noqa: PLC0415 - half a second of imports, and most runs begin without it

    try:
        return data_snapshot.get_snapshot().find_provider_model(model.name, None, model.provider, None)[1]
    except LookupError:
        return None


def _add_up(price: ModelPrice, usage: Usage) -> float | None:
    """
    What `price.calc_price` gives, to the last digit, at a tenth of its time.

    It weighs a few dozen units of images, sounds and searches against each other in every call. Of text there are
    four, and a cached token that has no price of its own is an input token.
    """
    from genai_prices.types import calc_unit_price  # noqa: PLC0415 - the same half second

    priced_apart = {
        "cache_read_mtok": usage.cache_read_tokens if price.cache_read_mtok is not None else 0,
        "cache_write_mtok": usage.cache_write_tokens if price.cache_write_mtok is not None else 0,
    }
    plain = usage.input_tokens - sum(priced_apart.values())
    if plain < 0:
        return None
    n_tokens = {"input_mtok": plain, "output_mtok": usage.output_tokens, **priced_apart}
    parts = (
        calc_unit_price(getattr(price, unit), n, usage.input_tokens, _MILLION) for unit, n in n_tokens.items() if n
    )
    return float(sum(parts, Decimal(0)))
