"""Reading a round in the terminal: one item after the other, a key for each verdict, undo, and edits in place."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import click
import orjson

from overnight.approve import Answers, parse_answers
from overnight.failures import ReviewRefused
from overnight.records import Release, ReviewItem
from overnight.report import describe_effect, describe_task, show_value

_KEYS = {"c": "correct", "w": "wrong", "u": "unsure", "e": "edit", "z": "undo"}


def ask_in_terminal(release: Release, *, reviewer: str | None, code: str | None, demands_code: bool) -> Answers:
    """
    A person's verdicts and decision.

    Raises:
        ReviewRefused: It was broken off.
    """
    click.echo(describe_task(release))
    started = time.monotonic()
    try:
        items = _ask_all(release)
        seconds = time.monotonic() - started
        return _ask_decision(release, items, seconds, reviewer=reviewer, code=code, demands_code=demands_code)
    except click.Abort:
        raise ReviewRefused(
            f"The review of run {release.run_id} was broken off: nothing is recorded, nothing leaves. Begin again:"
            f" `overnight review {release.run_id}`."
        ) from None


def _ask_all(release: Release) -> dict[int, Any]:
    given: dict[int, Any] = {}
    while len(given) < len(release.items):
        item = release.items[len(given)]
        verdict = _ask_verdict(item, len(release.items))
        if verdict == "undo":
            given.pop(item.item - 1, None)
        else:
            given[item.item] = verdict
    return given


def _ask_decision(
    release: Release,
    items: dict[int, Any],
    seconds: float,
    *,
    reviewer: str | None,
    code: str | None,
    demands_code: bool,
) -> Answers:
    words = Counter(v if isinstance(v, str) else next(iter(v)) for v in items.values())
    counts = ", ".join(f"{words[w]} {w}" for w in ("correct", "corrected", "wrong", "unsure"))
    click.echo(f"\nRead {len(items)} items: {counts}. {release.n_seeds} of them were made to be wrong.")
    click.echo(describe_effect(release))
    name = reviewer or click.prompt("Your name")
    choices = click.Choice(["release", "hold", "reject"])
    ask = "Release, hold what nobody has read, or reject the run?"
    decision = click.prompt(ask, type=choices)
    reason = click.prompt("Why do you reject it?") if decision == "reject" else ""
    if demands_code and not code:
        code = click.prompt("Your one-time code")
    given = {"decision": decision, "reviewer": name, "reason": reason, "items": items, "seconds": seconds}
    return parse_answers(given, code=code)


def _ask_verdict(item: ReviewItem, n_items: int) -> Any:
    click.echo(f"\n{item.item} of {n_items}, row {show_value(item.row_id)}")
    for title, values in (("input", item.input), ("output", item.output)):
        click.secho(f"  {title}", bold=True)
        for name, value in values.items():
            click.echo(f"    {name}: {show_value(value)}")
    choices = click.Choice([*_KEYS, *_KEYS.values()], case_sensitive=False)
    given = click.prompt("  [c]orrect, [w]rong, [u]nsure, [e]dit, or [z] undo", type=choices, show_choices=False)
    verdict = _KEYS[given[0]] if given != "undo" else "undo"
    if verdict == "wrong":
        return {"wrong": click.prompt("  What is wrong", default="", show_default=False)}
    return _edit(item) if verdict == "edit" else verdict


def _edit(item: ReviewItem) -> Any:
    """The fields that change; an empty answer keeps a field."""
    changed: dict[str, Any] = {}
    for name, value in item.output.items():
        given = click.prompt(f"    {name}", default="", show_default=False)
        if given.strip():
            changed[name] = given if isinstance(value, str) else _read(given)
    return {"corrected": changed} if changed else "correct"


def _read(text: str) -> Any:
    """A value that is no text: a number, a list, as JSON; what is none is taken as text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
