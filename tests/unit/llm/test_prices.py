from __future__ import annotations

import pytest

from overnight.llm import cost_usd, parse_model, worst_usd
from overnight.records import Usage

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


def test_the_worst_case_counts_a_token_for_two_bytes_and_the_whole_limit():
    assert worst_usd(CLAUDE, b"x" * 1999, 100) == cost_usd(CLAUDE, Usage(1000, 100))
