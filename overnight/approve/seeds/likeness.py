"""How like two rows are, by the words that they share: what a plainly wrong answer is chosen by."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overnight.approve.seeds.labels import find_label_fields
from overnight.records import Answered

#: Rows that a sample holds: enough to tell a rare word from a common one, and to have some of every usual label.
_N_ROWS = 400
_N_CHARS = 5000
#: Words count by their beginning, so that "arrive" and "arrival" are one.
_STEM = 4
_MIN_CHARS = 3
#: Scripts that put no spaces between words, or write a word's endings with it: there pairs of characters count.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_WORD = re.compile(r"[^\W_]+")

Words = frozenset[str]


@dataclass(frozen=True)
class Sketch:
    """A row as it is compared."""

    output: Mapping[str, Any]
    #: Words of the input, and of the output without its labels.
    given: Words
    said: Words


def list_words(value: Any) -> Words:
    """The stems of a value's words, without the shortest; numbers too, where they are not shares of one."""
    text = " ".join(_list_texts(value))[:_N_CHARS].casefold()
    return frozenset(stem for word in _WORD.findall(text) for stem in _list_stems(word))


def _list_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _list_texts(part)
    elif isinstance(value, Sequence):
        for part in value:
            yield from _list_texts(part)
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) > 1:
        yield str(value)


def _list_stems(word: str) -> Iterable[str]:
    if _UNSPACED.search(word):
        return [word[n : n + 2] for n in range(max(1, len(word) - 1))]
    if word.isdigit():
        return [word] if len(word) >= _MIN_CHARS else []
    is_short = len(word) < _MIN_CHARS if word.isascii() else len(word) < _MIN_CHARS - 1
    return [] if is_short else [word[:_STEM]]


class Sample:
    """Some rows of a release, drawn once for all seeds, and how common their words are."""

    def __init__(self, rows: Sequence[Answered], schema: Mapping[str, Any], rng: random.Random) -> None:
        drawn = [rows[n] for n in rng.sample(range(len(rows)), min(len(rows), _N_ROWS))]
        self.schema = schema
        self.label_fields = find_label_fields(schema, [row.output for row in drawn])
        self.sketches = [self.sketch(row) for row in drawn]
        self._n_with = Counter(word for s in self.sketches for word in s.given | s.said)
        n = len(self.sketches) + 1
        self._weights = {word: math.log(n / n_with) ** 2 for word, n_with in self._n_with.items()}
        #: Of a word that is in no row of the sample.
        self._foreign = math.log(n) ** 2
        #: Of whole texts: each is compared with many others.
        self._sums: dict[Words, float] = {}

    def sketch(self, row: Answered) -> Sketch:
        """A row, of the sample or not, as it is compared."""
        texts = {field: value for field, value in row.output.items() if field not in self.label_fields}
        return Sketch(row.output, list_words(row.input), list_words(texts))

    def likeness(self, one: Words, other: Words) -> float:
        """From 0, no word in common, to 1; common words count little, but of two short texts each word counts."""
        shared = one & other
        if not shared:
            return 0.0
        cosine = self._weigh(shared) / math.sqrt(self._weigh_text(one) * self._weigh_text(other))
        return max(cosine, len(shared) / len(one | other))

    def coverage(self, part: Words, whole: Words) -> float:
        """Which share of the first words, by weight, is among the others."""
        return self._weigh(part & whole) / self._weigh(part) if part else 0.0

    def list_rare(self, words: Words) -> Words:
        """The words that are not in more than a tenth of the rows, or in one row alone."""
        most = max(1, len(self.sketches) // 10)
        return frozenset(word for word in words if self._n_with[word] <= most)

    def _weigh_text(self, words: Words) -> float:
        if words not in self._sums:
            self._sums[words] = self._weigh(words)
        return self._sums[words]

    def _weigh(self, words: Words) -> float:
        return sum([self._weights.get(word, self._foreign) for word in words])
