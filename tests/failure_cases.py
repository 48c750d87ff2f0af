"""
Each class of failure with what provokes it, and what becomes of the row: docs/failures.md shows these tables.

`python -m tests.failure_cases` writes the page anew; the tests provoke every case and compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from overnight.taxonomy import TREATMENTS, FailureClass, FailureKind, describe_action
from tests.fakes.provider import Scripted

PAGE = Path(__file__).parents[1] / "docs" / "failures.md"
_WILL_NOT = '{"label": "red", "quote": "I cannot determine this from the input"}'
_ECHO = '{"label": "red", "quote": "some words"}'


@dataclass(frozen=True)
class Case:
    """What a provider answers to every call of a row, and what comes of it in one pass."""

    failure_class: FailureClass
    #: In words.
    provoked_by: str
    scripted: Scripted
    n_calls: int
    #: "quarantined", "pending", or "pending, the run halts".
    becomes: str
    #: Row checks of the prompt.
    rules: tuple[Mapping[str, Any], ...] = field(default=())
    #: Where one good answer after the first bad one saves the row: the calls that took.
    n_calls_if_mended: int | None = None


_VERBATIM = {"rule": "verbatim", "field": "quote", "of": "body"}
_HEDGE = {"rule": "hedge", "field": "quote"}
_NOT_ECHO = {"rule": "not_echo", "field": "quote", "of": "body"}
_HALTS = "pending, the run halts"
_NO_CREDIT = {"error": {"code": "insufficient_quota", "message": "You exceeded your quota"}}

CASES = [
    Case(FailureClass.TIMEOUT, "the connection is reset", Scripted(drop=True), 4, "pending", n_calls_if_mended=2),
    Case(
        FailureClass.RATE_LIMIT,
        "429 with retry-after 0",
        Scripted(status=429, headers={"retry-after": "0"}),
        4,
        "pending",
        n_calls_if_mended=2,
    ),
    Case(
        FailureClass.RATE_LIMIT,
        "429 with retry-after 3600",
        Scripted(status=429, headers={"retry-after": "3600"}),
        1,
        "pending",
    ),
    Case(FailureClass.OVERLOAD, "503", Scripted(status=503), 4, "pending", n_calls_if_mended=2),
    Case(FailureClass.SPEND_LIMIT, "429 with insufficient_quota", Scripted(status=429, body=_NO_CREDIT), 1, _HALTS),
    Case(FailureClass.AUTH, "401", Scripted(status=401), 1, _HALTS),
    Case(FailureClass.WRONG_MODEL, "another model's name in the reply", Scripted(model="gpt-other"), 1, _HALTS),
    Case(FailureClass.BAD_REQUEST, "400", Scripted(status=400), 1, "quarantined"),
    Case(FailureClass.TOO_LARGE, "413", Scripted(status=413), 1, "quarantined"),
    Case(
        FailureClass.TRUNCATED,
        "finish_reason length",
        Scripted(finish_reason="length"),
        2,
        "quarantined",
        n_calls_if_mended=2,
    ),
    Case(
        FailureClass.REFUSAL, "message.refusal, no fallback declared", Scripted(refusal="I may not."), 1, "quarantined"
    ),
    Case(
        FailureClass.CONTENT_FILTER,
        "finish_reason content_filter",
        Scripted(finish_reason="content_filter"),
        1,
        "quarantined",
    ),
    Case(FailureClass.UNKNOWN_STOP, "finish_reason pause_turn", Scripted(finish_reason="pause_turn"), 1, "quarantined"),
    Case(FailureClass.EMPTY, "a blank answer", Scripted(text=" "), 3, "quarantined", n_calls_if_mended=2),
    Case(
        FailureClass.MALFORMED,
        "half of an object",
        Scripted(text='{"label": "red",'),
        3,
        "quarantined",
        n_calls_if_mended=2,
    ),
    Case(
        FailureClass.SCHEMA_INVALID,
        "a label that is not in the enum",
        Scripted(text='{"label": "mauve", "quote": "x"}'),
        3,
        "quarantined",
        n_calls_if_mended=2,
    ),
    Case(
        FailureClass.CHECK_FAILED,
        "a quote that does not stand in the input",
        Scripted(text='{"label": "red", "quote": "invented"}'),
        2,
        "quarantined",
        (_VERBATIM,),
        n_calls_if_mended=2,
    ),
    Case(
        FailureClass.HEDGE,
        "a doubt as a value",
        Scripted(text=_WILL_NOT),
        2,
        "quarantined",
        (_HEDGE,),
        n_calls_if_mended=2,
    ),
    Case(FailureClass.ECHO, "the input again", Scripted(text=_ECHO), 2, "quarantined", (_NOT_ECHO,)),
]

#: Classes that no single call provokes: by a test of their own.
ELSEWHERE = {
    FailureClass.CONNECT: ("nothing listens at the address", "4 calls; pending"),
    FailureClass.SAME_ANSWER: (
        "one reply for more inputs than `distinct` allows",
        "2 calls; quarantined, and the batch is held",
    ),
    FailureClass.BUDGET: ("a call that does not fit under the cap", "0 calls; pending, the run halts"),
    FailureClass.STOPPED: ("Ctrl-C", "pending, the run halts"),
    FailureClass.UNDECODABLE: ("a parquet cell that is not UTF-8", "0 calls; quarantined"),
    FailureClass.RAGGED_ROW: ("a CSV line with a cell too many", "0 calls; quarantined"),
    FailureClass.EMPTY_ID: ("a row without an id", "0 calls; quarantined"),
    FailureClass.DUPLICATE_ID: ("an id twice", "0 calls; the later row is quarantined"),
    FailureClass.MISSING_VALUE: ("an empty input column", "0 calls; quarantined"),
    FailureClass.UNRENDERABLE: ("a filter of the template that fails on the row", "0 calls; quarantined"),
    FailureClass.BATCH_RULE: ("a row that an expectation names", "quarantined after its answer"),
    FailureClass.EXPIRED: (
        "a batch whose item the provider shows as expired",
        "put into the next batch, alone, at most 4 sends a run; then pending",
    ),
    FailureClass.CANCELED: (
        "a batch that is canceled before its item was answered",
        "put into the next batch, alone, or asked online where the run is late",
    ),
    FailureClass.IN_BATCH: ("a batch that has not ended", "0 calls more; pending"),
    FailureClass.IN_DOUBT: ("a batch whose sending was not answered and that is not found", "0 calls more; pending"),
}


def render_treatments() -> str:
    """The table of treatments, as markdown."""
    becomes = {
        FailureKind.DEFER: "pending: the next run asks",
        FailureKind.QUARANTINE: "quarantined",
        FailureKind.HOLD: "quarantined, and its batch holds the run",
        FailureKind.HALT: "pending; the run can be continued",
    }
    lines = ["| class | recognised by | what is done | if it stays |", "|---|---|---|---|"]
    for failure_class, t in TREATMENTS.items():
        lines.append(f"| {failure_class} | {t.signal} | {describe_action(failure_class)} | {becomes[t.if_stays]} |")
    return "\n".join(lines)


def render_cases() -> str:
    """What was provoked and what became of it, as markdown."""
    lines = ["| class | provoked by | if every answer is so | if the next answer is good |", "|---|---|---|---|"]
    for c in CASES:
        mended = f"accepted after {c.n_calls_if_mended} calls" if c.n_calls_if_mended else "-"
        calls = "1 call" if c.n_calls == 1 else f"{c.n_calls} calls"
        lines.append(f"| {c.failure_class} | {c.provoked_by} | {calls}; {c.becomes} | {mended} |")
    lines += [f"| {c} | {how} | {what} | - |" for c, (how, what) in ELSEWHERE.items()]
    return "\n".join(lines)


def render_page(page: str) -> str:
    """The page with both tables put between their markers."""
    for name, table in (("treatments", render_treatments()), ("cases", render_cases())):
        begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = before + begin + table + end + after
    return page


if __name__ == "__main__":
    PAGE.write_text(render_page(PAGE.read_text()))
