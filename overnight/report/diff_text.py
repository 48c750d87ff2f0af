"""A comparison for the terminal, at its width, and as markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

from overnight.report.diff import Diff
from overnight.report.diff_examples import Example, Half
from overnight.report.diff_words import (
    FIGURES,
    FIGURES_NOTE,
    list_figures,
    say_agreement,
    say_outcomes,
    say_pairs,
    say_said,
    say_whole,
)
from overnight.report.measure import escape_markdown
from overnight.report.text import find_width, show_value

#: Lines of one half of an example.
_MOST_LINES = 14
_MARGIN, _GUTTER = "   ", " | "
#: Of a figure in a table whose rows are the sides.
_CELL = 12


def render_diff(diff: Diff) -> str:
    """The comparison as text to read from top to bottom."""
    o = diff.outcomes
    lines = [
        *_wrap(f"A  {diff.figures[0].title}", "   "),
        *_wrap(f"B  {diff.figures[1].title}", "   "),
        "",
        *_wrap(say_pairs(diff)),
        "",
        f"{'':14}{'B accepts':>14}{'B quarantines':>16}",
        f"{'A accepts':14}{o.both_accepted:>14,}{o.only_a:>16,}",
        f"{'A quarantines':14}{o.only_b:>14,}{o.neither:>16,}",
        *_wrap(say_outcomes(o)),
        "",
        *_wrap(say_whole(diff)),
        *_render_fields(diff),
        *_render_changes(diff),
        "",
        *[line for said in say_said(diff) for line in _wrap(said)],
        "",
        *_render_figures(diff),
        *(["", *_wrap(diff.withheld)] if diff.withheld else []),
        *_render_examples(diff.examples),
    ]
    return "\n".join(lines)


def _render_fields(diff: Diff) -> list[str]:
    lines = []
    width = max((len(name) for name in diff.fields), default=0)
    for name, found in diff.fields.items():
        changed = found.n - found.n_same
        line = f"  {name:{width}}  same {found.n_same:>9,}  changed {changed:>9,}  {say_agreement(found)}"
        lines += _wrap(line, "      ")
    for names, who in ((diff.only_in_a, "A"), (diff.only_in_b, "B")):
        if names:
            lines += _wrap(f"  only {who} has {', '.join(names)}", "  ")
    return lines


def _render_changes(diff: Diff) -> list[str]:
    if not diff.label_changes:
        return []
    lines = [f"  {c.n:>6,}  {c.field}: {show_value(c.a)} -> {show_value(c.b)}" for c in diff.label_changes]
    return ["", "labels that changed", *(line[: find_width()] for line in lines)]


def _render_figures(diff: Diff) -> list[str]:
    rows = [("", *FIGURES), *((n, *list_figures(f)) for n, f in zip("AB", diff.figures, strict=True))]
    first = 2
    if first + _CELL * len(FIGURES) > find_width():
        rows, first = list(zip(*rows, strict=True)), max(map(len, FIGURES))
    table = ["".join([f"{cells[0]:{first}}", *(f"{cell:>{_CELL}}" for cell in cells[1:])]) for cells in rows]
    return [*table, *_wrap(FIGURES_NOTE)]


def _render_examples(examples: Sequence[Example]) -> list[str]:
    return [line for number, example in enumerate(examples, 1) for line in _render_example(number, example)]


def _render_example(number: int, example: Example) -> list[str]:
    named = f", row {show_value(example.row_id)}" if example.row_id else ""
    lines = ["", *_wrap(f"{number}. {show_value(example.kind)}{named}")]
    for name, value in example.input.items():
        lines += _clip(_wrap(f"{name}: {_flat(value)}", "     ", _MARGIN))
    half = (find_width() - len(_MARGIN) - len(_GUTTER)) // 2
    halves = [_list_half("A", example.a, example, half), _list_half("B", example.b, example, half)]
    for left, right in zip_longest(*map(_clip, halves), fillvalue=""):
        lines.append(f"{_MARGIN}{left:{half}}{_GUTTER}{right}".rstrip())
    return lines


def _list_half(name: str, half: Half, example: Example, width: int) -> list[str]:
    said = f", people: {half.said}" if half.said else ""
    lines = [f"{name} {half.state}{said}"]
    for field, value in (half.output or {}).items():
        mark = "* " if field in example.changed else "  "
        lines += textwrap.wrap(f"{mark}{field}: {_flat(value)}", width, subsequent_indent="    ")
    if half.failure_class:
        lines += textwrap.wrap(f"  {half.failure_class}: {_flat(half.reason)}", width, subsequent_indent="    ")
    return lines


def _clip(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], "    …"]


def _flat(value: Any) -> str:
    return " ".join(show_value(value).split())


def _wrap(text: str, indent: str = "", first: str = "") -> list[str]:
    return textwrap.wrap(text, find_width(), initial_indent=first, subsequent_indent=indent) or [""]


def render_diff_markdown(diff: Diff) -> str:
    """The comparison as markdown; what came from rows or models is escaped."""
    o, e = diff.outcomes, escape_markdown
    lines = [
        "# What would change",
        "",
        f"- A: {e(diff.figures[0].title)}",
        f"- B: {e(diff.figures[1].title)}",
        "",
        e(say_pairs(diff)) + ".",
        "",
        *_table(
            ("", "B accepts", "B quarantines"),
            [
                ("A accepts", f"{o.both_accepted:,}", f"{o.only_a:,}"),
                ("A quarantines", f"{o.only_b:,}", f"{o.neither:,}"),
            ],
        ),
        "",
        e(say_outcomes(o)),
        "",
        e(say_whole(diff)) + ".",
        "",
        *_table(
            ("field", "same", "changed", "agreement"),
            [(n, f"{a.n_same:,}", f"{a.n - a.n_same:,}", say_agreement(a)) for n, a in diff.fields.items()],
        ),
        "",
    ]
    if diff.label_changes:
        changes = [(f"{c.n:,}", c.field, f"{c.a} → {c.b}") for c in diff.label_changes]
        lines += [*_table(("rows", "field", "label"), changes), ""]
    lines += [*(f"- {e(line)}" for line in say_said(diff)), ""]
    figures = [(n, *list_figures(f)) for n, f in zip("AB", diff.figures, strict=True)]
    lines += [*_table(("", *FIGURES), figures), "", e(FIGURES_NOTE)]
    lines += ["", e(diff.withheld)] if diff.withheld else []
    for number, example in enumerate(diff.examples, 1):
        lines += _list_example(number, example)
    return "\n".join(lines)


def _list_example(number: int, example: Example) -> list[str]:
    named = f", row {example.row_id}" if example.row_id else ""
    fields = dict.fromkeys([*(example.a.output or {}), *(example.b.output or {})])
    rows = [("", *(f"{half.state}{f', people: {half.said}' if half.said else ''}" for half in (example.a, example.b)))]
    rows += [(name, *(_show_field(half, name) for half in (example.a, example.b))) for name in fields]
    if example.a.reason or example.b.reason:
        rows.append(("reason", example.a.reason or "", example.b.reason or ""))
    given = [f"> {escape_markdown(name)}: {escape_markdown(_flat(value))}  " for name, value in example.input.items()]
    return ["", f"## {number}. {escape_markdown(example.kind + named)}", "", *given, "", *_table(("", "A", "B"), rows)]


def _show_field(half: Half, name: str) -> str:
    return _flat(half.output[name]) if half.output and name in half.output else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(escape_markdown(cell) for cell in row)} |" for row in rows]
