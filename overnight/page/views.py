"""What the templates are given: words and figures, nothing that they would have to work out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from overnight.approve import Decision
from overnight.page.edits import EditField, list_fields
from overnight.page.evidence import Field, mark_evidence, show_codes, show_text
from overnight.page.reading import MOST_CHARACTERS, ReaderRound, write_value
from overnight.page.review import Review
from overnight.page.words import describe_elsewhere, describe_outlook, list_wants
from overnight.records import Approval, Release, ReviewItem, RunState
from overnight.report.text import describe_effect, describe_private

#: Characters of an answer that fit a screen, and can stay in sight beside a long input.
_BRIEF = 700
#: What a decision's outcome is called.
_HEADINGS = {
    "approved": "Approved",
    "held": "Held",
    "rejected": "Rejected",
    "more": "More has to be read",
    "second": "Somebody else reads now",
    "missed": "This round does not count",
}
_NEXT = {"more": "Read the next rows", "missed": "Begin a fresh round"}
_NEXT_FOR_OTHERS = "I am somebody else: begin"
_WORDS = ("correct", "corrected", "wrong", "unsure")


def view_start(reading: ReaderRound) -> dict[str, Any]:
    """What waits, and where to begin."""
    release, n_seeds = reading.release, reading.release.n_seeds
    return {
        "title": f"Review of run {release.run_id}",
        "release": release,
        "seeds": f"{n_seeds} of them {'was' if n_seeds == 1 else 'were'} made to be plainly wrong",
        "effect": describe_effect(release),
        "hidden": describe_private(release),
        "n_items": len(release.items),
        "n_answered": len(reading.verdicts),
        "is_resumed": reading.is_resumed,
        "next": next(iter(reading.open), None),
    }


def view_item(
    reading: ReaderRound,
    number: int,
    mode: str = "read",
    *,
    typed: Mapping[str, str] | None = None,
    bad: str | None = None,
) -> dict[str, Any]:
    """
    One item.

    Args:
        reading: The round.
        number: Of the item.
        mode: "read", "wrong" (a reason is asked for) or "edit".
        typed: What was typed and not taken.
        bad: The name of the field that it was not taken for.
    """
    item, n_items = reading.items[number], len(reading.items)
    inputs, outputs = mark_evidence(item.input, item.output)
    given = reading.verdicts.get(number)
    value = write_value(given)
    reason = value if isinstance(value, str) else ""
    return {
        "title": f"Item {number} of {n_items}{_MODES[mode]} · Review of run {reading.release.run_id}",
        "release": reading.release,
        "mode": mode,
        "number": number,
        "n_items": n_items,
        "n_answered": len(reading.verdicts),
        "row_id": show_codes(item.row_id),
        "inputs": inputs,
        "outputs": outputs,
        "is_brief": sum(len(piece.text) for field in outputs for piece in field.pieces) < _BRIEF,
        "has_marks": any(piece.is_marked for field in outputs for piece in field.pieces),
        "outlook": describe_outlook(reading),
        "given": reading.name(number),
        "reason": (typed or {}).get("reason", reason),
        "changes": _show_changes(value),
        "n_characters": MOST_CHARACTERS,
        "undo": reading.last,
        "undo_word": reading.name(reading.last) if reading.last else "",
        "bad": bad,
        "back": number - 1 if number - 1 in reading.items else None,
        "forth": _find_forth(reading, number),
        "is_done": not reading.open,
    }


_MODES = {"read": "", "wrong": ": what is wrong?", "edit": ": edit"}


def list_edits(
    reading: ReaderRound, item: ReviewItem, schema: Mapping[str, Any], typed: Mapping[str, str] | None
) -> list[EditField]:
    """The inputs of an item's edit: as it was corrected before, where it was."""
    value = write_value(reading.verdicts.get(item.item))
    before = value if isinstance(value, dict) else {}
    return list_fields({**item.output, **before}, schema, typed)


def view_summary(review: Review, *, demands_code: bool) -> dict[str, Any]:
    """What was found, what the policy wants, and the form of the decision."""
    reading = review.reading
    counts = Counter(reading.name(n) for n in reading.verdicts)
    flagged = reading.list_flagged()
    return {
        "title": f"Decision · Review of run {reading.release.run_id}",
        "release": reading.release,
        "n_items": len(reading.items),
        "n_answered": len(reading.verdicts),
        "counts": [(word, counts[word]) for word in _WORDS],
        "flagged": [
            (n, show_codes(reading.items[n].row_id), reading.name(n), _show_reason(reading, n)) for n in flagged
        ],
        "open": reading.open,
        "outlook": describe_outlook(reading),
        "wants": list_wants(reading, len(flagged)),
        "may_hold_unread": review.may_hold_unread,
        "effect": describe_effect(reading.release),
        "typed": review.typed,
        "demands_code": demands_code,
        "n_characters": MOST_CHARACTERS,
        "undo": reading.last,
        "undo_word": reading.name(reading.last) if reading.last else "",
    }


def view_result(decision: Decision, release: Release) -> dict[str, Any]:
    """What became of the decision."""
    heading = _HEADINGS[decision.outcome]
    return {
        "title": f"{heading} · Review of run {release.run_id}",
        "release": release,
        "heading": heading,
        "words": show_codes(decision.words),
        "outcome": decision.outcome,
        "is_final": decision.is_final,
        "is_for_others": decision.is_for_others,
        "next": _NEXT_FOR_OTHERS if decision.is_for_others else _NEXT.get(decision.outcome),
    }


def view_elsewhere(standing: Approval | RunState, release: Release) -> dict[str, Any]:
    """That others were quicker."""
    return {
        "title": f"Decided elsewhere · Review of run {release.run_id}",
        "release": release,
        "decided": show_codes(describe_elsewhere(standing)),
    }


def _find_forth(reading: ReaderRound, number: int) -> int | None:
    """The next item, as far as it was judged or is the one to be read now."""
    after, first = number + 1, next(iter(reading.open), None)
    return after if after in reading.verdicts or after == first else None


def _show_changes(value: Any) -> list[Field]:
    return mark_evidence({}, value)[1] if isinstance(value, dict) else []


def _show_reason(reading: ReaderRound, number: int) -> str:
    value = write_value(reading.verdicts[number])
    if isinstance(value, dict):
        return "; ".join(f"{name}: {show_codes(show_text(v))}" for name, v in value.items())
    return str(value or "")
