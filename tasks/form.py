"""The form of a review in the Prefect UI: every row to read with a verdict of its own, and no default."""

from __future__ import annotations

from typing import Any, Literal, cast

import orjson
from prefect.input import RunInput
from pydantic import Field, create_model

from overnight.approve import name_field
from overnight.records import Release, ReviewItem
from overnight.report import describe_effect, escape_field, escape_markdown

#: Characters of a row's input that the form shows; what would leave is shown whole, as `overnight review` shows both.
_SHOWN = 1500


def make_form(release: Release) -> type[RunInput]:
    """The release's form: one required verdict an item, then the decision and who takes it."""
    fields: dict[str, Any] = {
        name_field(i): (Literal["correct", "wrong", "unsure"], _describe(i)) for i in release.items
    }
    fields["decision"] = (
        Literal["release", "reject"],
        Field(title="Decision", description=f"Release the rows marked correct to {release.sink}, or reject the run?"),
    )
    fields["reviewer"] = (str, Field(title="Your name", min_length=1, description="It is kept with the decision."))
    fields["reason"] = (str, Field(default="", title="Reason", description="Needed when you reject."))
    form = cast("type[RunInput]", create_model("Review", __base__=RunInput, **fields))
    return form.with_initial_data(description=describe_release(release))


def describe_release(release: Release) -> str:
    """What waits, and what a reviewer is asked, as markdown."""
    unread = release.n_rows - len(release.items)
    ask = f"Read {len(release.items)} of them and give each a verdict. Rows marked wrong or unsure are held."
    lines = [f"**{release.n_rows:,} rows wait to be sent to** `{release.sink}`. {ask}"]
    lines.append(describe_effect(release))
    if unread:
        lines.append(f"The other {unread:,} leave only if every row you read is correct.")
    lines += ["", "| # | row | input | output |", "|---|---|---|---|"]
    for i in release.items:
        cells = (str(i.item), i.row_id, _cut(_text(i.input)), _text(i.output))
        lines.append(f"| {' | '.join(escape_markdown(cell) for cell in cells)} |")
    return "\n".join(lines)


def _describe(item: ReviewItem) -> Any:
    text = f"INPUT: {_cut(_text(item.input))}  →  OUTPUT: {_text(item.output)}"
    return Field(title=f"{item.item}. {item.row_id}", description=escape_field(text))


def _text(values: Any) -> str:
    return " · ".join(f"{k}: {v if isinstance(v, str) else orjson.dumps(v).decode()}" for k, v in dict(values).items())


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " …"
