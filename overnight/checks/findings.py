"""One value held against one rule: what is wrong, in words for people and in words for the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overnight.checks.faults import Finding
from overnight.checks.hedges import find_hedge
from overnight.checks.language import find_language, find_other_language
from overnight.checks.rules import (
    FieldRule,
    Forbidden,
    Hedge,
    Language,
    LengthRatio,
    MaxChars,
    NotEcho,
    Verbatim,
)
from overnight.checks.text import as_text, normalise


def judge_field(rule: FieldRule, given: Mapping[str, Any], value: Any) -> Finding | None:
    """What the rule finds wrong with the field's value; a null passes every rule but `verbatim`."""
    if isinstance(rule, Verbatim):
        return _find_invention(rule, given.get(rule.of), value)
    if value is None:
        return None
    return _judge_text(rule, given, as_text(value))


def _judge_text(rule: FieldRule, given: Mapping[str, Any], text: str) -> Finding | None:  # noqa: PLR0911 - one a rule
    match rule:
        case MaxChars():
            return _find_excess(rule, text)
        case LengthRatio():
            return _find_disproportion(rule, given.get(rule.of), text)
        case Forbidden():
            return _find_phrase(rule, text)
        case NotEcho():
            return _find_echo(rule, given.get(rule.of), text)
        case Hedge():
            return _find_doubt(rule, text)
        case Language():
            return _find_other_language(rule, given, text)
        case _:
            return None


def _find_invention(rule: Verbatim, source: Any, value: Any) -> Finding | None:
    asked = f"{rule.field} must quote {rule.of}"
    ask = f"The field {rule.field} must be copied word for word from {rule.of}"
    copy = f"Copy a passage of {rule.of} exactly."
    if not isinstance(value, str) or not value.strip():
        return Finding(f"{asked} word for word, but it is empty or not text", f"{ask}, and yours is empty. {copy}")
    if source is None:
        return Finding(f"{asked}, but the row has no {rule.of}", f"{ask}, and there is no {rule.of}.")
    if value not in as_text(source):
        reason = f"{asked} word for word, but its text does not stand there"
        return Finding(reason, f"{ask}, and your text does not stand there. {copy}")
    return None


def _find_excess(rule: MaxChars, text: str) -> Finding | None:
    if len(text) <= rule.limit:
        return None
    return Finding(
        f"{rule.field} has {len(text)} characters, more than the {rule.limit} allowed",
        f"The field {rule.field} has {len(text)} characters, and {rule.limit} are the most. Give a shorter text.",
    )


def _find_disproportion(rule: LengthRatio, source: Any, text: str) -> Finding | None:
    """Of an input that is missing or empty nothing has a share."""
    if not source:
        return None
    n_given = len(as_text(source))
    share = len(text) / n_given
    if rule.least is not None and share < rule.least:
        bound, ask = f"less than {rule.least:g}", f"too short beside {rule.of}: give at least {rule.least:g}"
    elif rule.most is not None and share > rule.most:
        bound, ask = f"more than {rule.most:g}", f"too long beside {rule.of}: give at most {rule.most:g}"
    else:
        return None
    return Finding(
        f"{rule.field} has {len(text)} characters and {rule.of} {n_given}, a share of {share:.3g}, {bound}",
        f"The field {rule.field} is {ask} times as many characters as {rule.of} has.",
    )


def _find_phrase(rule: Forbidden, text: str) -> Finding | None:
    folded = text.casefold()
    found = next((p for p in rule.phrases if p.casefold() in folded), None)
    if found is None:
        return None
    return Finding(
        f'{rule.field} contains the forbidden phrase "{found}"',
        f'The field {rule.field} must not contain "{found}". Write it without that.',
    )


def _find_echo(rule: NotEcho, source: Any, text: str) -> Finding | None:
    if source is None or normalise(as_text(source)) != normalise(text):
        return None
    return Finding(
        f"{rule.field} only repeats {rule.of}",
        f"The field {rule.field} only repeats {rule.of}. Give what was asked for, in words of its own.",
    )


def _find_doubt(rule: Hedge, text: str) -> Finding | None:
    if text == rule.unknown:
        return Finding(
            f'{rule.field} is "{rule.unknown}"',
            f'The field {rule.field} is "{rule.unknown}". Read the input again: give another value if it allows one, '
            f'and "{rule.unknown}" only if it does not.',
            is_soft=True,
        )
    found = find_hedge(text, rule.phrases)
    if found is None:
        return None
    or_unknown = f' If the input does not allow one, give "{rule.unknown}".' if rule.unknown else ""
    return Finding(
        f'{rule.field} holds a hedge, "{found}"',
        f"The field {rule.field} must hold an answer, not an apology, a refusal or a doubt about the task. "
        f"Give the value that the input supports best.{or_unknown}",
    )


def _find_other_language(rule: Language, given: Mapping[str, Any], text: str) -> Finding | None:
    source = given.get(rule.of) if rule.of else None
    asked = rule.code or (find_language(as_text(source)) if source is not None else None)
    found = find_other_language(text, asked) if asked else None
    if found is None:
        return None
    wanted = f"the language of {rule.of}" if rule.of else f'the language with the code "{asked}"'
    return Finding(
        f'{rule.field} is in the language "{found}", not in "{asked}"' + (f" as {rule.of} is" if rule.of else ""),
        f"The field {rule.field} must be in {wanted} and is in another. Write it in {wanted}.",
    )
