from __future__ import annotations

from datetime import UTC, datetime

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice

from overnight.llm.model import parse_model
from overnight.llm.prices import _add_up, cost_usd, has_batch_price, worst_usd
from overnight.records import Mode, ModelTerms, Usage

CLAUDE = parse_model("anthropic:claude-sonnet-4-5")


def test_the_embedded_model_costs_nothing():
    model = parse_model("local:smollm2-135m")
    assert cost_usd(model, Usage(10**9, 10**9)) == 0
    assert worst_usd(model, b"x" * 10**6, 1000) == 0


@pytest.mark.parametrize("ref", ["openai:no-such-model", "anthropic:no-such-model"])
def test_an_unknown_model_has_no_price(ref):
    assert cost_usd(parse_model(ref), Usage(10, 10)) is None
    assert worst_usd(parse_model(ref), b"{}", 10) is None


def test_the_list_price_is_by_token():
    # $3 and $15 a million.
    assert cost_usd(CLAUDE, Usage(input_tokens=1000, output_tokens=100)) == pytest.approx(0.0045)


def test_cached_tokens_have_prices_of_their_own():
    plain = cost_usd(CLAUDE, Usage(1000, 0))
    assert cost_usd(CLAUDE, Usage(1000, 0, cache_read_tokens=1000)) == pytest.approx(plain * 0.1)
    assert cost_usd(CLAUDE, Usage(1000, 0, cache_write_tokens=1000)) == pytest.approx(plain * 1.25)


def test_the_worst_case_counts_a_token_a_byte_and_the_whole_limit():
    assert worst_usd(CLAUDE, b"x" * 1000, 100) == cost_usd(CLAUDE, Usage(1000, 100))


def _terms(**declared):
    return ModelTerms("anthropic:claude-sonnet-4-5", **declared)


def test_declared_prices_win_over_the_list():
    terms = _terms(input_usd_per_million=1.0, output_usd_per_million=2.0)
    assert cost_usd(CLAUDE, Usage(1000, 100), terms) == pytest.approx(0.0012)
    assert worst_usd(CLAUDE, b"x" * 1000, 100, terms) == pytest.approx(0.0012)


def test_a_cached_token_has_the_declared_price_of_input():
    terms = _terms(input_usd_per_million=1.0, output_usd_per_million=2.0)
    usage = Usage(1000, 100, cache_read_tokens=900, cache_write_tokens=50)
    assert cost_usd(CLAUDE, usage, terms) == cost_usd(CLAUDE, Usage(1000, 100), terms)


@pytest.mark.parametrize("ref", ["openai:no-such-model", "local:smollm2-135m"])
def test_a_model_without_a_list_price_has_the_declared_one(ref):
    terms = ModelTerms(ref, input_usd_per_million=10.0, output_usd_per_million=0.0)
    assert cost_usd(parse_model(ref), Usage(1000, 100), terms) == pytest.approx(0.01)


def test_a_model_can_be_declared_free():
    assert cost_usd(CLAUDE, Usage(1000, 100), _terms(input_usd_per_million=0.0, output_usd_per_million=0.0)) == 0


def test_terms_without_prices_leave_the_list_price():
    assert cost_usd(CLAUDE, Usage(1000, 100), _terms(requests_per_minute=5)) == cost_usd(CLAUDE, Usage(1000, 100))


def test_counts_that_contradict_each_other_have_no_price():
    assert cost_usd(CLAUDE, Usage(10, 10, cache_read_tokens=8, cache_write_tokens=3)) is None


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_every_price_of_the_list_is_added_up_as_the_list_s_own_code_does(provider):
    [listed] = [p for p in get_snapshot().providers if p.id == provider]
    # Both sides of the tiers, which begin at 128,000 to 272,000 tokens.
    usages = [
        Usage(n, 777, read, write)
        for n in (0, 999, 128_001, 200_000, 200_001, 272_001, 1_000_000)
        for read, write in ((0, 0), (n // 3, 0), (n // 3, n // 7), (n, 0))
    ]
    for price in [price for model in listed.models for price in _prices_of(model)]:
        for usage in usages:
            theirs = genai_prices.Usage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=usage.cache_read_tokens,
                cache_write_tokens=usage.cache_write_tokens,
            )
            assert _add_up(price, usage) == float(price.calc_price(theirs)["total_price"])


def _prices_of(model):
    return [model.prices] if isinstance(model.prices, ModelPrice) else [c.prices for c in model.prices]


@pytest.mark.parametrize(("ref", "usd"), [("anthropic:claude-haiku-4-5", 3.0), ("openai:gpt-5-mini", 1.125)])
def test_a_batch_has_the_list_s_own_price(ref, usd):
    model = parse_model(ref)
    million = Usage(10**6, 10**6)
    assert cost_usd(model, million, mode=Mode.BATCH) == pytest.approx(usd)
    assert cost_usd(model, million) == pytest.approx(2 * usd)
    assert worst_usd(model, b"x" * 1000, 100, mode=Mode.BATCH) == cost_usd(model, Usage(1000, 100), mode=Mode.BATCH)
    assert has_batch_price(model)


@pytest.mark.parametrize("ref", ["openai:gpt-4.5-preview", "anthropic:claude-opus-4-1"])
def test_a_batch_without_a_price_of_its_own_counts_as_calls_one_by_one(ref):
    model = parse_model(ref)
    assert not has_batch_price(model)
    assert cost_usd(model, Usage(1000, 100), mode=Mode.BATCH) == cost_usd(model, Usage(1000, 100)) > 0


def test_no_batch_of_an_unknown_model_has_a_price():
    model = parse_model("openai:no-such-model")
    assert cost_usd(model, Usage(10, 10), mode=Mode.BATCH) is None
    assert not has_batch_price(model)


def test_a_price_declared_for_batches_is_theirs_alone():
    terms = _terms(batch_input_usd_per_million=1.0, batch_output_usd_per_million=2.0)
    assert cost_usd(CLAUDE, Usage(1000, 100), terms, Mode.BATCH) == pytest.approx(0.0012)
    assert cost_usd(CLAUDE, Usage(1000, 100), terms) == cost_usd(CLAUDE, Usage(1000, 100))
    assert has_batch_price(CLAUDE, terms)


def test_a_declared_price_without_one_for_batches_counts_in_full():
    terms = _terms(input_usd_per_million=10.0, output_usd_per_million=20.0)
    assert cost_usd(CLAUDE, Usage(1000, 100), terms, Mode.BATCH) == cost_usd(CLAUDE, Usage(1000, 100), terms)
    assert not has_batch_price(CLAUDE, terms)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_no_batch_costs_more_than_its_calls_and_every_one_is_added_up_as_the_list_s_own_code_does(provider):
    [listed] = [p for p in get_snapshot().providers if p.id == provider]
    now, n_lower = datetime.now(tz=UTC), 0
    for model in listed.models:
        price = model.get_prices(now, {"processing": "batch"})
        usage = Usage(200_001, 777, 66_667, 28_571)
        theirs = genai_prices.Usage(
            input_tokens=200_001, output_tokens=777, cache_read_tokens=66_667, cache_write_tokens=28_571
        )
        found = _add_up(price, usage)
        assert found == float(price.calc_price(theirs)["total_price"])
        assert found <= _add_up(model.get_prices(now), usage)
        n_lower += found < _add_up(model.get_prices(now), usage)
    assert n_lower > 10
