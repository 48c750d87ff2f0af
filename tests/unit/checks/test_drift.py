from __future__ import annotations

import json
from typing import Any

import pytest

from overnight.checks import Checks, DriftLimit, DriftRule, find_limit, parse_checks, refuse_unknown_fields
from overnight.failures import PromptRefused


def parse(*drift: dict[str, Any], **more: Any) -> Checks:
    return parse_checks(json.dumps({"row": [], "batch": [], "drift": drift, **more}), prompt="sort")


def refuse(*drift: dict[str, Any]) -> None:
    refuse_unknown_fields(parse(*drift), prompt="sort", fields=("label", "quote"), inputs=("body",))


def test_drift_limits_are_read_in_order_and_hold_unless_said() -> None:
    found = parse(
        {"of": "output.label", "psi": 0.25},
        {"of": "input.*.length", "ks": 0.2, "severity": "warning"},
        {"of": "rate.refusals", "points": 3},
        drift_since="20260301-0a0a0a0a",
    )
    assert found.drift == (
        DriftRule("output.label", psi=0.25, severity="hold"),
        DriftRule("input.*.length", ks=0.2, severity="warning"),
        DriftRule("rate.refusals", points=3),
    )
    assert found.drift_since == "20260301-0a0a0a0a"


def test_without_a_rule_the_plain_limits_hold_and_warn() -> None:
    assert parse_checks("{}", prompt="sort").drift == ()
    assert find_limit((), "output.label") == DriftLimit(psi=0.2, ks=0.15, points=2.0, severity="warning")


def test_the_first_rule_that_names_a_thing_decides_and_leaves_other_limits_as_they_are() -> None:
    rules = (DriftRule("output.label", psi=0.5), DriftRule("output.*", severity="ignore"))
    assert find_limit(rules, "output.label") == DriftLimit(0.5, 0.15, 2.0, "hold")
    assert find_limit(rules, "output.quote.length").severity == "ignore"
    assert find_limit(rules, "input.body.length").severity == "warning"


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ({"psi": 0.2}, r"drift\[0\]\.of: field required"),
        ({"of": ""}, r"drift\[0\]\.of"),
        ({"of": "a", "psi": 0}, r"drift\[0\]\.psi"),
        ({"of": "a", "psi": "0.2"}, r"drift\[0\]\.psi"),
        ({"of": "a", "ks": 1.5}, r"drift\[0\]\.ks"),
        ({"of": "a", "points": 101}, r"drift\[0\]\.points"),
        ({"of": "a", "severity": "critical"}, r"drift\[0\]\.severity"),
        ({"of": "a", "limit": 1}, r"drift\[0\]\.limit"),
    ],
)
def test_a_wrong_drift_limit_is_refused_on_one_line_with_its_place(rule: dict[str, Any], place: str) -> None:
    with pytest.raises(PromptRefused, match=place) as refused:
        parse(rule)
    assert str(refused.value).startswith("Prompt sort: checks.json is refused at drift")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"of": "output.lable"}, r"names 'output.lable' at drift\[0\]\.of, which is none of .*output\.label"),
        ({"of": "input.label"}, r"names 'input.label' at drift\[0\]\.of"),
        ({"of": "rate.failed.nothing"}, r"at drift\[0\]\.of"),
        ({"of": "input.body.length", "psi": 0.2}, r"drift\[0\]\.psi .* never held against; it takes ks"),
        ({"of": "rate.refusals", "ks": 0.2}, r"drift\[0\]\.ks .* it takes points"),
        ({"of": "output.label", "ks": 0.2}, r"drift\[0\]\.ks .* it takes points or psi"),
    ],
)
def test_a_limit_that_would_limit_nothing_is_refused(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(PromptRefused, match=said) as refused:
        refuse(rule)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "rule",
    [
        {"of": "*", "psi": 0.3, "ks": 0.2, "points": 5},
        {"of": "*.language", "psi": 0.3},
        {"of": "answer.structure", "psi": 0.3},
        {"of": "rate.failed.malformed", "points": 1},
        {"of": "rate.quarantined.check_failed.max_chars(quote)", "points": 1},
        {"of": "rate.quarantined.*", "points": 1},
    ],
)
def test_names_that_are_measured_pass(rule: dict[str, Any]) -> None:
    refuse(rule)
