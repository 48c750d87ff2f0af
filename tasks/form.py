"""The form of a review in the Prefect UI: every row to read with a verdict of its own, and no default."""

from __future__ import annotations

from typing import Any, Literal, cast

import orjson
from prefect.input import RunInput
from pydantic import Field, create_model

from overnight.approve import name_field
from overnight.approve.form import ELSEWHERE
from overnight.records import Release, ReviewItem
from overnight.report.measure import escape_field, escape_markdown
from overnight.report.text import describe_effect, describe_private, describe_seeds

#: Items that a form or an artifact bears; where there are more, they are read on the page or in the terminal.
N_FORM = 25
#: Characters of a row's input that the form shows; what would leave is shown whole, as `overnight review` shows both.
_SHOWN = 1500


def make_form(release: Release, description: str, *, demands_code: bool) -> type[RunInput]:
    """The release's form: one required verdict an item, then the decision and who takes it."""
    is_short = len(release.items) <= N_FORM
    fields = _make_fields(release) if is_short else _make_elsewhere(release)
    fields["reviewer"] = (str, Field(title="Your name", min_length=1, description="It is kept with the decision."))
    if demands_code:
        about = "Six digits, from the app that you enrolled with. Each is taken once."
        fields["code"] = (str, Field(title="Your one-time code", pattern=r"^\s*\d{3}\s?\d{3}\s*$", description=about))
    fields["reason"] = (str, Field(default="", title="Reason", description="Needed when you reject."))
    form = cast("type[RunInput]", create_model("Review", __base__=RunInput, **fields))
    return form.with_initial_data(description=description)


def _make_fields(release: Release) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name_field(i): (Literal["correct", "wrong", "unsure"], _describe(i)) for i in release.items
    }
    example = 'Rows that are right but for some fields, as JSON: {"3": {"category": "bug"}} corrects item 3.'
    fields["corrections"] = (str, Field(default="", title="Corrections", description=example))
    about = (
        f"Release: what may leave goes to {release.sink}. Hold: only the rows that you read as correct go. Reject:"
        " nothing does."
    )
    fields["decision"] = (Literal["release", "hold", "reject"], Field(title="Decision", description=about))
    return fields


def _make_elsewhere(release: Release) -> dict[str, Any]:
    about = (
        f"{len(release.items)} items are more than a form bears: read them with `overnight review {release.run_id}"
        " --web`, which resumes this run. What was decided there stands in the ledger; saying so here decides nothing."
    )
    return {"decision": (Literal["reject", ELSEWHERE], Field(title="Decision", description=about))}


def describe_release(release: Release, said: str | None = None) -> str:
    """What waits, and what a reviewer is asked, as markdown; `said` is what the last answer came to."""
    unread = release.n_rows - (len(release.items) - release.n_seeds)
    ask = f"Read these {len(release.items)} items and give each a verdict. Rows marked wrong or unsure are held."
    lines = [f"**{release.n_rows:,} rows wait to be sent to** `{release.sink}`. {ask}", describe_effect(release)]
    if said:
        lines.insert(0, f"**Round {release.round + 1}.** {escape_markdown(said)}\n")
    lines.append(describe_seeds(release))
    if hidden := describe_private(release):
        lines.append(escape_markdown(hidden))
    if unread > 0:
        lines.append(f"The other {unread:,} rows leave only if what you read at random shows that few are wrong.")
    lines += ["", "| # | row | input | output |", "|---|---|---|---|"]
    for i in release.items[:N_FORM]:
        cells = (str(i.item), i.row_id, _cut(_text(i.input)), _text(i.output))
        lines.append(f"| {' | '.join(escape_markdown(cell) for cell in cells)} |")
    if (n_more := len(release.items) - N_FORM) > 0:
        lines += ["", f"{n_more:,} more are read on the page: `overnight review {release.run_id} --web`."]
    return "\n".join(lines)


def _describe(item: ReviewItem) -> Any:
    text = f"INPUT: {_cut(_text(item.input))}  →  OUTPUT: {_text(item.output)}"
    return Field(title=f"{item.item}. {item.row_id}", description=escape_field(text))


def _text(values: Any) -> str:
    return " · ".join(f"{k}: {v if isinstance(v, str) else orjson.dumps(v).decode()}" for k, v in dict(values).items())


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " …"
