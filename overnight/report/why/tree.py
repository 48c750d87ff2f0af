"""A row's history as text to read from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from overnight.report.text import show_value
from overnight.report.why.nodes import Node, Text
from overnight.report.why.outline import make_outline

#: Lines and characters of a text that are shown where not all of it is asked for.
_N_LINES, _N_CHARACTERS = 16, 1600


def render_row(told: dict[str, Any], *, is_full: bool = False) -> str:
    """
    What `explain_row` told, as a tree.

    Args:
        told: By it.
        is_full: Long texts are not cut.
    """
    root = make_outline(told)
    lines = [_show(_head(root)), *(_show(f"  {line}") for line in root.lines)]
    lines += _list_below(root, "", is_full=is_full)
    return "\n".join(lines)


def _list_below(node: Node, indent: str, *, is_full: bool) -> Iterator[str]:
    for text in node.texts:
        bar = f"{indent}{'│' if node.children else ' '}   "
        yield _show(f"{bar}{text.label}:")
        yield from (f"{bar}  {line}" for line in _cut(text, is_full=is_full))
    for number, child in enumerate(node.children, 1):
        is_last = number == len(node.children)
        yield f"{indent}{'└─' if is_last else '├─'} {_show(_head(child))}"
        below = indent + ("   " if is_last else "│  ")
        yield from (f"{below}{'│' if child.children else ' '} {_show(line)}" for line in child.lines)
        yield from _list_below(child, below, is_full=is_full)


def _head(node: Node) -> str:
    return f"{node.title}, {node.when}" if node.when else node.title


def _cut(text: Text, *, is_full: bool) -> list[str]:
    lines = text.text.split("\n")
    shown = lines if is_full else "\n".join(lines[:_N_LINES])[:_N_CHARACTERS].split("\n")
    n_left = len(text.text) - len("\n".join(shown))
    note = [f"… and {n_left:,} more characters: --full shows them"] if n_left else []
    return [*map(_show, shown), *note]


def _show(line: str) -> str:
    """One line: what could hide text, or end the line, by its code."""
    return show_value(line.replace("\n", " ")).replace("\r", "\\r")
