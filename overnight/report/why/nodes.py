"""What is told of a row as a tree of words: the terminal and the page are made of the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Tone = Literal["plain", "good", "bad", "wait"]


@dataclass(frozen=True)
class Text:
    """A stretch that is shown as it is: a body, a prompt, a diff."""

    label: str
    text: str
    kind: Literal["text", "diff"] = "text"
    #: Whether a page shows it at once.
    is_open: bool = False


@dataclass
class Node:
    """A heading with its lines, its texts and what belongs under it."""

    title: str
    tone: Tone = "plain"
    #: When it was, in words.
    when: str = ""
    lines: list[str] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """It and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()
