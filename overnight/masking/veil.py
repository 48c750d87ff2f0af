"""Values that a prompt declares private: hidden wherever they stand in what people are shown, and put back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

V = TypeVar("V")

#: What is shown instead of a value of the input, and of the answer.
MARKS = ("[private: {}]", "[private: {} of the answer]")
#: Shorter values stand in other texts by chance; they are hidden in their own field alone.
_LEAST_CHARS = 4
#: So much of a longer value tells that it is meant, where a line cuts it short.
_HEAD_CHARS = 24
#: Of values longer than the first, so many characters are looked for in any case and spacing, and then read on from: a
#: pattern of a long text takes longer to make than to use.
_LONG_CHARS, _SOUGHT_CHARS = 120, 80
#: Words, and what stands between them.
_SPACE, _PARTS = re.compile(r"\s+"), re.compile(r"\s+|\S+")
#: What a prompt declares private, in its front matter.
_FRONT_MATTER = re.compile(r"---\n(.*?\n)---\n", re.DOTALL)


def read_private(prompt_text: str) -> tuple[str, ...]:
    """What a prompt.md that was accepted once declares private; of one that is none, nothing."""
    front = _FRONT_MATTER.match(prompt_text)
    if front is None or "private" not in front[1]:
        return ()
    import yaml  # noqa: PLC0415 - few prompts declare anything, and commands start faster without it

    return tuple((yaml.safe_load(front[1]) or {}).get("private") or ())


class Veil:
    """
    Hides the private values of one row wherever they stand, and puts them back.

    Args:
        private: Inputs, or fields of the output, whose values are not shown.
        given: The row's input.
        output: Its answer, where there is one.
    """

    def __init__(
        self, private: Collection[str], given: Mapping[str, Any] | None, output: Mapping[str, Any] | None = None
    ) -> None:
        self._private = frozenset(private)
        #: By what is shown instead of them: "[private: NAME]", and where input and output have one name, of each.
        self._values: dict[str, Any] = {}
        for name in sorted(self._private):
            for values, mark in zip((given, output), MARKS, strict=True):
                if values and values.get(name) not in (None, ""):
                    self._values[mark.format(name)] = values[name]
        texts = {text: mark for mark, value in self._values.items() for text in _list_forms(value)}
        # The longest first: one value may stand within another.
        found = sorted(texts, key=len, reverse=True)
        self._marks = {_fold(text): texts[text] for text in reversed(found)}
        heads = [text[:_SOUGHT_CHARS].rstrip() if len(text) > _LONG_CHARS else text for text in found]
        self._pattern = re.compile("|".join(map(_write_pattern, heads)), re.IGNORECASE) if found else None
        begun = {_fold(head) for head, text in zip(heads, found, strict=True) if head != text}
        #: By the beginning that is sought, the values that may go on from it, with their marks.
        self._begun = {head: [(t, texts[t]) for t in found if _fold(t).startswith(head)] for head in begun}
        #: Of which a line may quote the beginning alone.
        self._long = [text for text in found if len(text) > _HEAD_CHARS]

    def hide_text(self, text: str) -> str:
        """The text with each private value by its mark, also one that is cut short, in other case or other spaces."""
        if self._pattern is None:
            return text
        hidden = "".join(self._hide_matches(self._pattern, text))
        for value in self._long:
            hidden = _hide_head(hidden, value, self._marks[_fold(value)])
        return hidden

    def _hide_matches(self, pattern: re.Pattern[str], text: str) -> Iterator[str]:
        at = 0
        while match := pattern.search(text, at):
            yield text[at : match.start()]
            head, at = _fold(match[0]), match.end()
            mark = self._marks.get(head, "[private]")
            if values := self._begun.get(head):
                reached, mark = max((_reach(text, match.start(), value), mark) for value, mark in values)
                at = max(at, reached)
            yield mark
        yield text[at:]

    def hide(self, value: V) -> V:
        """The same of any value of JSON."""
        hidden: V = map_texts(value, self.hide_text) if self._pattern else value
        return hidden

    def hide_input(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The row's input as it may be shown."""
        return {name: MARKS[0].format(name) if self._is_hidden(name, v) else self.hide(v) for name, v in given.items()}

    def hide_output(self, output: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer as it may be shown."""
        return {n: MARKS[1].format(n) if self._is_hidden(n, v) else self.hide(v) for n, v in output.items()}

    def put_back(self, value: V) -> V:
        """A value that was shown, with what was hidden in it: of a correction."""
        whole: V = map_texts(value, self._put_back_text)
        return whole

    def _is_hidden(self, name: str, value: Any) -> bool:
        return name in self._private and value not in (None, "")

    def _put_back_text(self, text: str) -> Any:
        if text in self._values:
            return self._values[text]
        for mark, value in self._values.items():
            text = text.replace(mark, str(value))
        return text


def _list_forms(value: Any) -> set[str]:
    """The texts in a value that are looked for, each as it is and as JSON has it."""
    if isinstance(value, Mapping | list | tuple):
        inner = value.values() if isinstance(value, Mapping) else value
        return {form for one in inner for form in _list_forms(one)}
    if (
        isinstance(value, bool)
        or not isinstance(value, str | int | float)
        or len(text := str(value).strip()) < _LEAST_CHARS
    ):
        return set()
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}


def _fold(text: str) -> str:
    return " ".join(text.split()).casefold()


def _write_pattern(text: str) -> str:
    return r"\s+".join(map(re.escape, text.split()))


def _reach(text: str, at: int, value: str) -> int:
    """How far the text has the value from a place on, in whatever case and spacing."""
    for part in (match[0] for match in _PARTS.finditer(value)):
        if part.isspace():
            space = _SPACE.match(text, at)
            if space is None:
                return at
            at = space.end()
            continue
        here = text[at : at + len(part)]
        if here.lower() != part.lower():
            return at + _count_same(here.lower(), part.lower())
        at += len(part)
    return at


def _hide_head(text: str, value: str, mark: str) -> str:
    """The text without the beginnings of a value that it quotes, as far as each goes."""
    at = text.find(value[:_HEAD_CHARS])
    while at >= 0:
        n = _count_same(text[at:], value)
        text = text[:at] + mark + text[at + n :]
        at = text.find(value[:_HEAD_CHARS], at + len(mark))
    return text


def _count_same(one: str, other: str) -> int:
    """The characters that two texts have in common from their beginnings on."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def map_texts(value: Any, change: Callable[[str], Any]) -> Any:
    """A value of JSON with each text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: map_texts(v, change) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [map_texts(v, change) for v in value]
    return value


#: Of a row without private values.
NOTHING_HIDDEN = Veil((), None)
