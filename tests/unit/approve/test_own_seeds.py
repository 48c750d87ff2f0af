from __future__ import annotations

import random
from pathlib import Path

import pytest

from overnight.approve.seeds.own import load_mutators
from overnight.failures import PromptRefused

ROOT = Path(__file__).parents[3]
CHANCE = random.Random(1)  # noqa: S311 - no secret
CODE = '''
"""Ours."""
from __future__ import annotations
from collections import Counter
from os.path import join

LIMIT = 3


def zebra(input, output, other, rng):
    output["label"] = other["label"]
    return output


def apple(given, output, other, rng):
    return None


def _private(one):
    return one


def raises(given, output, other, rng):
    return given["a\\nb"]


def says_word(given, output, other, rng):
    return "wrong"


def says_set(given, output, other, rng):
    return {"label": {1}}
'''


def load(folder, code=CODE):
    (folder / "sort").mkdir()
    (folder / "sort" / "seeds.py").write_text(code, encoding="utf-8")
    return {mutator.__name__: mutator for mutator in load_mutators("sort", folder)}


def mutate(mutator, output=None):
    return mutator({}, {"label": "red"} if output is None else output, {"label": "blue"}, CHANCE)


def test_a_prompt_without_the_file_has_no_mutators_of_its_own(tmp_path):
    assert load_mutators("sort", tmp_path) == []


def test_the_public_functions_of_the_file_are_taken_in_its_order(tmp_path):
    assert list(load(tmp_path)) == ["zebra", "apple", "raises", "says_word", "says_set"]


def test_a_mutator_works_on_copies(tmp_path):
    mutators, output = load(tmp_path), {"label": "red"}
    assert mutate(mutators["zebra"], output) == {"label": "blue"}
    assert output == {"label": "red"}
    assert mutate(mutators["apple"]) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("raises", "raises in seeds.py raised KeyError: .*b' on a row"),
        ("says_word", "says_word in seeds.py returned str where None or an output is due"),
        ("says_set", r"says_set in seeds.py returned what JSON cannot hold \(.*set"),
    ],
)
def test_a_function_that_fails_on_a_row_is_refused_on_one_line(tmp_path, name, why):
    mutator = load(tmp_path)[name]
    with pytest.raises(PromptRefused, match=f"Prompt sort: {why}") as refused:
        mutate(mutator)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def broken(:", r"cannot be imported \(SyntaxError"),
        ("raise LookupError('a\\nb')", r"cannot be imported \(LookupError: a b\)"),
        ("def helper(text):\n    return text", "helper in seeds.py cannot be called with an input"),
    ],
)
def test_a_file_that_cannot_serve_is_refused_on_one_line(tmp_path, code, why):
    with pytest.raises(PromptRefused, match=f"Prompt sort: .*{why}") as refused:
        load(tmp_path, code)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "sort").mkdir()
    (tmp_path / "sort" / "seeds.py").write_bytes(b"\xff")
    with pytest.raises(PromptRefused, match="it is not UTF-8"):
        load_mutators("sort", tmp_path)


@pytest.mark.parametrize(
    ("text", "intent", "other", "is_plain"),
    [
        ("Where is my new card?", "card_arrival", "exchange_rate", True),
        ("Where is my new card?", "card_arrival", "card_linking", False),
        ("I forgot my PIN", "pin_blocked", "passcode_forgotten", False),
        ("How do I change my passcode at an ATM?", "change_pin", "cash_withdrawal_charge", False),
    ],
)
def test_the_banking_prompts_own_mutator_takes_the_intent_of_another_subject(text, intent, other, is_plain):
    [mutator] = load_mutators("route_banking_query", ROOT / "prompts")
    output = {"intent": intent, "confidence": 0.9, "evidence": text}
    wrong = mutator({"text": text}, output, {"intent": other}, CHANCE)
    assert wrong == ({**output, "intent": other} if is_plain else None)
