"""Apologies, refusals and doubts about the task, told from those that a letter to a customer may hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

#: Hedges only where they are the entire value, apart from punctuation around them.
_WHOLE = frozenset(
    {
        "n/a", "none", "null", "unknown", "unclear", "undetermined", "tbd", "not sure", "i'm not sure", "i am not sure",
        "i don't know", "i do not know", "not applicable", "not available", "not specified", "not provided",
        "no information", "i'm sorry", "i am sorry", "sorry", "i apologize", "i apologise", "i cannot", "i can't",
        "i'm sorry, i cannot", "i'm sorry, i can't", "i'm sorry, but i cannot", "i'm sorry, but i can't",
    }
)  # fmt: skip
# "I cannot refund the fee" is a letter's, "I cannot determine the category" is not: what follows the refusal tells.
_AI = r"an? (?:ai(?: (?:language )?(?:model|assistant|system|chatbot))?|(?:large )?language model)"
_TASK = r"(?:request|task|question|prompt|query|instruction|text|message|input)"
_PRODUCT = r"(?:answer|summary|classification|category|label|translation|quote|quotation|assessment|evaluation|value)"
_DECIDE = (
    r"(?:determine|classify|categori[sz]e|summari[sz]e|extract|infer|"
    rf"(?:identify|assess|tell) the (?:{_PRODUCT}|intent|topic|sentiment|urgency|language))"
)
_DO = (
    rf"(?:{_DECIDE}|comply|(?:fulfil|fulfill|complete|answer|process) (?:this|that) {_TASK}|"
    rf"(?:help|assist)(?: you)? with (?:this|that)(?: {_TASK})?(?= ?[.,;:!]|$)|"
    rf"(?:provide|give|offer)(?: you)?(?: with)? (?:an?|the|this|that|any)(?: \w+)? {_PRODUCT})"
)
_CANNOT = r"(?:cannot|can't|can not|could not|couldn't)"
_I_CANNOT = rf"(?:i|we) ?(?:{_CANNOT}|(?:am|'m|are|'re|was|were) (?:unable|not able) to)"
_INFORMATION = r"(?:not enough|insufficient) (?:information|context|data|details?)"
#: Where a value or a sentence begins.
_START = r"(?:^|[.!?;:]\s?|\bbut )"
_HEDGES = (
    rf"\b(?:as|i'm|i am)(?: just| only)? {_AI}(?= ?[.,;!]| i\b| so | and (?:do|can|cannot|am|have)\b|$)",
    rf"\b{_I_CANNOT}(?: \w+ly)? {_DO}",
    rf"{_START}(?:unable|not able|(?:(?:it is|it's) )?(?:not possible|impossible)) to(?: \w+ly)? {_DO}",
    rf"{_START}{_CANNOT}(?: \w+ly)? {_DO}",
    rf"\b{_CANNOT} be (?:\w+ly )?(?:determined|classified|inferred)\b",
    rf"{_START}(?:there(?:'s| is| was) |i have )?{_INFORMATION}\b",
    rf"\b{_INFORMATION} (?:(?:is |was |are )?(?:provided |given |available ))?to (?:{_DECIDE}|answer|tell)\b",
    r"\bi (?:don't|do not) have (?:enough|sufficient) (?:information|context|data|details?)\b",
    rf"\b(?:the|this) {_TASK} (?:doesn't|does not) (?:provide|contain|give|include) (?:enough|sufficient|any) \w+",
    r"\bmy (?:guidelines|programming|training data|knowledge cutoff)\b",
)


def find_hedge(text: str, phrases: Sequence[str] | None) -> str | None:
    """The first hedge in the text, in lower case: one of the phrases, or without them one that is known here."""
    folded = _fold(text)
    if phrases is None and (bare := folded.strip(" .,;:!?\"'()[]*_-")) in _WHOLE:
        return bare
    found = _compile(None if phrases is None else tuple(phrases)).search(folded)
    return found[0].lstrip(" .!?;:") if found else None


@cache
def _compile(phrases: tuple[str, ...] | None) -> re.Pattern[str]:
    if phrases is None:
        return re.compile("|".join(_HEDGES))
    # Not \b: a phrase may begin or end with what is no letter, as "n/a?" does.
    return re.compile("|".join(rf"(?<!\w){re.escape(_fold(phrase))}(?!\w)" for phrase in phrases))


def _fold(text: str) -> str:
    return " ".join(text.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split())
