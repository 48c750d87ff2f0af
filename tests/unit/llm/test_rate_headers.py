from __future__ import annotations

from datetime import UTC, datetime

import pytest

from overnight.llm.rate_headers import MAX_HOLD_S, find_hold_s

NOW = datetime(2026, 3, 1, 2, 0, 0, tzinfo=UTC)


def _openai(remaining: str, reset: str, what: str = "requests") -> dict[str, str]:
    return {f"x-ratelimit-remaining-{what}": remaining, f"x-ratelimit-reset-{what}": reset}


def _anthropic(remaining: str, reset: str, what: str = "requests") -> dict[str, str]:
    return {f"anthropic-ratelimit-{what}-remaining": remaining, f"anthropic-ratelimit-{what}-reset": reset}


@pytest.mark.parametrize(
    ("reset", "hold_s"),
    [
        ("1.5s", 1.5),
        ("20ms", 0.02),
        ("1m0s", 60.0),
        ("1m30.5s", 90.5),
        ("1m", 60.0),
        ("59s999ms", 59.999),
        ("7", 7.0),
        ("7.25", 7.25),
        (" 3s ", 3.0),
        ("6m0s", MAX_HOLD_S),
        ("1h2m3s", MAX_HOLD_S),
        ("999999999h", MAX_HOLD_S),
    ],
)
@pytest.mark.parametrize("what", ["requests", "tokens"])
def test_a_used_up_limit_holds_for_its_duration_and_never_long(what, reset, hold_s):
    assert find_hold_s(_openai("0", reset, what), NOW) == pytest.approx(hold_s)


@pytest.mark.parametrize("what", ["requests", "tokens", "input-tokens", "output-tokens"])
@pytest.mark.parametrize(
    ("reset", "hold_s"),
    [
        ("2026-03-01T02:00:30Z", 30.0),
        ("2026-03-01T02:00:30.5Z", 30.5),
        ("2026-03-01T04:00:30+02:00", 30.0),
        ("2026-03-01T05:00:00Z", MAX_HOLD_S),
        ("9999-12-31T23:59:59-23:59", MAX_HOLD_S),
    ],
)
def test_a_used_up_limit_holds_until_its_moment_and_never_long(what, reset, hold_s):
    assert find_hold_s(_anthropic("0", reset, what), NOW) == pytest.approx(hold_s)


@pytest.mark.parametrize(
    "reset",
    [
        "",
        "s",
        "soon",
        "-5",
        "-5s",
        "1h-2m",
        "1s1h",
        "1,5s",
        "1e3",
        "nan",
        "inf",
        "0s",
        "0",
        "٣s",
        "1" * 400,
        "5 s",
        "1d",
    ],
)
def test_a_duration_that_is_none_holds_nobody(reset):
    assert find_hold_s(_openai("0", reset), NOW) is None


@pytest.mark.parametrize(
    "reset", ["", "30", "soon", "2026-03-01T01:59:59Z", "2026-03-01T02:00:30", "2026-13-01T02:00:30Z", "0001-01-01"]
)
def test_a_moment_that_is_none_or_past_holds_nobody(reset):
    assert find_hold_s(_anthropic("0", reset), NOW) is None


@pytest.mark.parametrize("remaining", ["1", "4999", "-1", "", "none", "0.5", "00:00"])
def test_where_something_is_left_or_nothing_can_be_read_nobody_is_held(remaining):
    assert find_hold_s(_openai(remaining, "30s"), NOW) is None
    assert find_hold_s(_anthropic(remaining, "2026-03-01T02:00:30Z"), NOW) is None


def test_headers_that_are_missing_hold_nobody():
    assert find_hold_s({}, NOW) is None
    assert find_hold_s({"x-ratelimit-remaining-requests": "0"}, NOW) is None
    assert find_hold_s({"x-ratelimit-reset-requests": "30s"}, NOW) is None
    assert find_hold_s({"anthropic-ratelimit-tokens-remaining": "0"}, NOW) is None


def test_the_longest_of_those_used_up_counts_and_nonsense_beside_it_does_not():
    headers = {
        **_openai("0", "3s"),
        **_openai("12", "90s", "tokens"),
        **_anthropic("0", "2026-03-01T02:00:05Z", "input-tokens"),
        **_anthropic("0", "never", "output-tokens"),
        **_anthropic("7", "2026-03-01T02:01:00Z", "tokens"),
    }
    assert find_hold_s(headers, NOW) == pytest.approx(5)
