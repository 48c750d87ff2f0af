"""
Ways to make an answer plainly wrong: some are shown among the real ones, to see whether the reviewer reads.

Each public function takes a row's input, its output, the output of a row about something else, and a random.Random.
It returns the output made wrong, or None where that would not be plain.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

#: Words of one subject under several names; a question about a PIN may well be one about a passcode.
_SUBJECTS = (
    {"pin", "passcode", "blocked"},
    {"card", "visa", "mastercard", "contactless", "linking"},
    {"identity", "verify", "source", "details", "age"},
    {"charged", "charge", "fee", "extra", "twice", "cost", "refund"},
    {"refund", "reverted", "cancel", "failed", "declined", "pending", "working", "timing", "not"},
    {"limits", "supported", "acceptance", "allowed", "okay"},
    {"transfer", "receiving", "beneficiary", "recipient", "balance", "direct", "debit"},
    {"cash", "atm", "swallowed", "withdrawal"},
    {"exchange", "currency", "currencies", "fiat", "country", "rate"},
    {"lost", "stolen", "compromised", "phone"},
    {"top", "topping", "deposit", "add"},
)


def intent_of_another_subject(
    given: Mapping[str, Any], output: Mapping[str, Any], other: Mapping[str, Any], _rng: random.Random
) -> Mapping[str, Any] | None:
    """The intent of another row, where it names nothing that this question or its own intent speaks of."""
    named = _list_subjects(other["intent"])
    spoken = _list_subjects(output["intent"]) | _list_subjects(given["text"])
    return None if named & spoken else {**output, "intent": other["intent"]}


def _list_subjects(text: str) -> set[str]:
    """Its words by their first four letters, and those of the same subjects."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    stems = {word[:4] for word in words if len(word) > 2}  # noqa: PLR2004 - "up", "my"
    kin = [{word[:4] for word in subject} for subject in _SUBJECTS]
    return stems | {word for subject in kin if stems & subject for word in subject}
