"""Reading in the terminal: one item after the other, a key for each verdict, undo, and edits in place."""

from __future__ import annotations

from typing import Any

import click

from overnight.approve import Decision
from overnight.approve.identify import CodeRefused
from overnight.cli.editing import edit_in_terminal
from overnight.cli.sitting import describe_end
from overnight.failures import OvernightError, ReviewRefused
from overnight.page import Review
from overnight.page.reading import ReaderRound
from overnight.page.words import describe_kept
from overnight.records import ReviewItem
from overnight.report.text import describe_effect, describe_private, describe_task, show_value

_KEYS = {"c": "correct", "w": "wrong", "u": "unsure", "e": "edit", "z": "undo", "d": "decide"}
_N_DIGITS = 6


def read_in_terminal(review: Review, *, reviewer: str | None, code: str | None) -> Decision:
    """
    What a person decided, or that somebody else has to read now; every verdict is kept at once.

    Args:
        review: Whose rounds are read.
        reviewer: Their name, where it was given beforehand.
        code: Their one-time code, likewise.

    Raises:
        ReviewRefused: It was broken off, or the answers are not taken: the verdicts are kept.
    """
    try:
        decision = _read_round(review, reviewer, code)
        while not decision.is_final and not decision.is_for_others:
            click.echo(f"\n{show_value(decision.words)}")
            review.begin_next()
            decision = _read_round(review, reviewer, None)
    except click.Abort:
        raise ReviewRefused(_describe_end(review)) from None
    return decision


def _read_round(review: Review, reviewer: str | None, code: str | None) -> Decision:
    click.echo(describe_task(review.release))
    if hidden := describe_private(review.release):
        click.echo(hidden)
    _tell_kept(review.reading)
    while True:
        _read_items(review)
        if given := _ask_decision(review, reviewer):
            return _hand_in(review, given, code)


def _tell_kept(reading: ReaderRound) -> None:
    if reading.fault:
        click.echo(reading.fault)
    n, n_items = len(reading.verdicts), len(reading.items)
    if n:
        at = f"at item {reading.open[0]} of {n_items}" if reading.open else "at the decision"
        kept = "1 verdict is" if n == 1 else f"{n} verdicts are"
        click.echo(f"Going on {at}; {kept} kept from before. If that was not you, take them back: z, one by one.")


def _read_items(review: Review) -> None:
    """Ask for verdicts until each item has one, or somebody has seen enough."""
    reading = review.reading
    number = next(iter(reading.open), None)
    while number is not None:
        reading.show(number)
        verdict = _ask_verdict(reading.items[number], len(reading.items))
        if verdict == "decide":
            return
        reading.spend(number, None)
        if verdict == "undo":
            number = reading.undo() or number
        elif _give(review, number, verdict):
            number = reading.find_next(number)


def _ask_verdict(item: ReviewItem, n_items: int) -> str:
    click.echo(f"\n{item.item} of {n_items}, row {show_value(item.row_id)}")
    for title, values in (("input", item.input), ("output", item.output)):
        click.secho(f"  {title}", bold=True)
        for name, value in values.items():
            click.echo(f"    {show_value(name)}: {show_value(value)}")
    choices = click.Choice([*_KEYS, *_KEYS.values()], case_sensitive=False)
    ask = "  [c]orrect, [w]rong, [u]nsure, [e]dit, [z] undo, or [d]ecide now"
    given = click.prompt(ask, type=choices, show_choices=False)
    return _KEYS.get(given, given)


def _give(review: Review, number: int, word: str) -> bool:
    """Whether the item has its verdict now; what is wrong with one that was not taken is said."""
    verdict: Any = word
    if word == "edit":
        verdict = edit_in_terminal(review.reading.items[number], review.schema, review.find_veil(number))
        if verdict is None:
            return False
    while True:
        if word == "wrong":
            verdict = {"wrong": click.prompt("  What is wrong")}
        try:
            review.reading.give(number, verdict)
        except ReviewRefused as refusal:
            click.echo(f"  {refusal}")
            if word != "wrong":
                return False
        else:
            _tell_fault(review.reading)
            return True


def _tell_fault(reading: ReaderRound) -> None:
    if reading.fault:
        click.echo(f"  {reading.fault}")


def _ask_decision(review: Review, reviewer: str | None) -> dict[str, str] | None:
    """The form of the decision; None: back to the items."""
    reading = review.reading
    words = [reading.name(n) for n in reading.verdicts]
    counts = ", ".join(f"{words.count(w)} {w}" for w in ("correct", "corrected", "wrong", "unsure"))
    click.echo(f"\nRead {len(words)} of {len(reading.items)} items: {counts}.")
    click.echo(describe_effect(review.release))
    decision = _ask_what(review)
    if decision == "back":
        # Where all is read, to the verdict that was given last.
        if not reading.open:
            reading.undo()
        return None
    reason = click.prompt("Why do you reject it?") if decision == "reject" else ""
    name = reviewer or click.prompt("Your name", default=review.typed["reviewer"] or None)
    return {"decision": decision, "reason": reason, "reviewer": name}


def _ask_what(review: Review) -> str:
    if not review.reading.open:
        ask, offered = "Release, hold what nobody has read, or reject the run?", ["release", "hold", "reject"]
    elif review.may_hold_unread:
        ask, offered = "Items are open. Hold what nobody has read, or reject the run?", ["hold", "reject"]
    else:
        ask, offered = "Items are open. Reject the run?", ["reject"]
    return str(click.prompt(ask, type=click.Choice([*offered, "back"])))


def _hand_in(review: Review, given: dict[str, str], code: str | None) -> Decision:
    """Hand the answers in; a code that is refused is asked for again, and no verdict is lost for it."""
    while True:
        try:
            asked = code or (_ask_code() if review.demands_code() else "")
            return review.decide(given | {"code": asked})
        except CodeRefused as refusal:
            click.echo(str(refusal))
            code = None
        except OvernightError as refusal:
            kept = f"{refusal} {describe_kept(review.reading)}"
            raise ReviewRefused(_describe_end(review) if review.find_elsewhere() else kept) from refusal


def _ask_code() -> str:
    """
    Six digits.

    Raises:
        click.Abort: Nothing was typed: there is no code at hand.
    """
    while digits := "".join(click.prompt("Your one-time code", default="", show_default=False).split()):
        if len(digits) == _N_DIGITS and digits.isascii() and digits.isdigit():
            return digits
        click.echo(f"A code has {_N_DIGITS} digits. Give those that your authenticator app shows for overnight.")
    raise click.Abort


def _describe_end(review: Review) -> str:
    run_id = review.release.run_id
    return describe_end(review, f"The review of run {run_id} was broken off", f"overnight review {run_id}")
