"""Ways to make a real answer plainly wrong with what other rows were answered, or by cutting it short."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from overnight.approve.seeds.labels import find_enum, get_facts
from overnight.approve.seeds.likeness import Sample, Sketch, Words, list_words
from overnight.checks.text import as_text, normalise

#: Rows among which the most unlike one is sought.
_N_CANDIDATES = 50
#: Of these any one will do, or else the same few rows would lend their answers to all seeds.
_N_BEST = 5
#: Above it two inputs may want the same answer.
_MAX_LIKENESS = 0.25
#: So few labels may be steps of a scale, of which neighbours are a matter of opinion.
_MAX_STEPS = 5
#: Words of their own by which one sees that a text speaks of something else.
_MIN_FOREIGN_WORDS = 2
#: From so many characters and words on a text that is cut short is seen to be.
_MIN_CUT_CHARS = 40
_MIN_CUT_WORDS = 6


@dataclass(frozen=True)
class Base:
    """The row whose answer is made wrong."""

    input: Mapping[str, Any]
    output: Mapping[str, Any]
    sketch: Sketch

    @property
    def words(self) -> Words:
        """All that one may have read of in this row."""
        return self.sketch.given | self.sketch.said


Mutation = Callable[[Base, Sample, random.Random], dict[str, Any] | None]


def differs(one: Any, other: Any) -> bool:
    """Whether two values differ by more than case and white space."""
    return bool(one != other) and normalise(as_text(one)) != normalise(as_text(other))


def swap_answer(base: Base, sample: Sample, rng: random.Random) -> dict[str, Any] | None:
    """The whole answer of the most unlike row."""
    donors = list_donors(base, sample, rng)
    return _lend(base, donors[0]) if donors else None


def list_donors(base: Base, sample: Sample, rng: random.Random) -> list[Sketch]:
    """Rows whose answers are plainly not this row's: the most unlike of some, in any order, or else of all."""
    few = rng.sample(sample.sketches, min(len(sample.sketches), _N_CANDIDATES))
    best = (_pick_donors(base, sample, few) or _pick_donors(base, sample, sample.sketches))[:_N_BEST]
    return rng.sample(best, len(best))


def _pick_donors(base: Base, sample: Sample, candidates: list[Sketch]) -> list[Sketch]:
    fit = [donor for donor in candidates if _is_unlike(base, donor, sample) and _fills(base, donor)]
    telling = [donor for donor in fit if _tells(base, donor, sample)]
    return sorted(telling, key=lambda donor: _score(base, donor, sample))


def _is_unlike(base: Base, donor: Sketch, sample: Sample) -> bool:
    pairs = (
        (base.sketch.given, donor.given),
        (base.sketch.given, donor.said),
        (base.sketch.said, donor.given),
    )
    return all(sample.likeness(*pair) <= _MAX_LIKENESS for pair in pairs)


def _fills(base: Base, donor: Sketch) -> bool:
    """It has a value wherever the base has one: an answer that says less is not plainly wrong."""
    return all(_has_value(donor.output.get(name)) for name, value in base.output.items() if _has_value(value))


def _tells(base: Base, donor: Sketch, sample: Sample) -> bool:
    """A text of it speaks of what the base does not, or a label differs: only so is it seen to be another's."""
    lent = _lend(base, donor)
    if not differs(lent, dict(base.output)):
        return False
    labels = [name for name in lent if name in sample.label_fields]
    return bool(donor.said - base.words) or any(differs(lent[name], base.output[name]) for name in labels)


def _score(base: Base, donor: Sketch, sample: Sample) -> float:
    """The lower, the plainer."""
    said = sample.likeness(base.sketch.said, donor.said) + sample.likeness(base.sketch.given, donor.said)
    foreign = min(len(sample.list_rare(donor.said & donor.given - base.words)), 5)
    labels = [_compare_labels(sample, name, base, donor) for name in base.output]
    alike = [label for label in labels if label is not None]
    same = sum(alike) / len(alike) if alike else 0.0
    return sample.likeness(base.sketch.given, donor.given) + said + same - 0.1 * foreign


def _compare_labels(sample: Sample, name: str, base: Base, donor: Sketch) -> float | None:
    """From 0 to 1 for the same, or for one that names what the row is about; None: it is no label."""
    if name not in sample.label_fields:
        return None
    one, other = base.output[name], donor.output.get(name)
    if one == other or list_words(other) & (list_words(one) | base.sketch.given):
        return 1.0
    listed = find_enum(sample.schema, name) or ()
    if one in listed and other in listed and len(listed) <= _MAX_STEPS:
        return 1 - abs(listed.index(one) - listed.index(other)) / (len(listed) - 1)
    return 0.0


def _lend(base: Base, donor: Sketch) -> dict[str, Any]:
    return {name: donor.output.get(name, value) for name, value in base.output.items()}


def _has_value(value: Any) -> bool:
    return value not in (None, "", [], {})


def borrow_text(base: Base, sample: Sample, rng: random.Random) -> dict[str, Any] | None:
    """
    The longest text of a row about something else: a reply to another question.

    Not where it is a quotation: what was drawn from it stays right, and a check compares the words.
    """
    name = find_longest(base, sample)
    if name is None or _is_quoted(base, base.output[name]):
        return None
    for donor in list_donors(base, sample, rng):
        text = donor.output.get(name)
        if isinstance(text, str) and differs(text, base.output[name]) and _is_foreign(base, donor, text, sample):
            return {**base.output, name: text}
    return None


def _is_foreign(base: Base, donor: Sketch, text: str, sample: Sample) -> bool:
    """It names what the other row was about; "We will look into it" would answer this row as well."""
    words = list_words(text)
    own = sample.list_rare(words - base.words)
    about = own & donor.given
    return bool(about) and len(own) >= min(_MIN_FOREIGN_WORDS, len(words))


def cut_short(base: Base, sample: Sample, rng: random.Random) -> dict[str, Any] | None:
    """The longest text broken off inside a word after about a third, where it is no quotation."""
    name = find_longest(base, sample)
    if name is None or _is_quoted(base, base.output[name]):
        return None
    text = base.output[name]
    facts = get_facts(sample.schema, name)
    is_plain = len(text) >= _MIN_CUT_CHARS and len(list_words(text)) >= _MIN_CUT_WORDS
    if not is_plain or "pattern" in facts or "format" in facts:
        return None
    start = max(round(len(text) * rng.uniform(0.28, 0.38)), facts.get("minLength", 0))
    ends = [n for n in range(start, len(text) // 2) if _is_inside_word(text, n)]
    return {**base.output, name: text[: ends[0]]} if ends else None


def _is_inside_word(text: str, end: int) -> bool:
    """Two letters before and two after, so that what is left does not read as a word."""
    return text[end - 2 : end + 2].isalpha()


def _is_quoted(base: Base, text: str) -> bool:
    """Part of a quotation is one too."""
    return normalise(text) in normalise(" ".join(as_text(value) for value in base.input.values()))


def find_longest(base: Base, sample: Sample) -> str | None:
    """The field with the longest text that is no label."""
    texts = {name: value for name, value in base.output.items() if isinstance(value, str) and value.strip()}
    free = {name: len(value) for name, value in texts.items() if name not in sample.label_fields}
    return max(free, key=free.__getitem__) if free else None
