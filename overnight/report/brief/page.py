"""The brief as one page that needs nothing else: no script, no font, no picture from anywhere."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from overnight.failures import OvernightError
from overnight.report.brief.model import Brief, ShownRow
from overnight.report.brief.plots import Plot, draw, list_colours
from overnight.report.brief.words import bar_parts, footer, headline, lead, name_columns, night_of, unchanged
from overnight.report.text import show_value

if TYPE_CHECKING:
    import jinja2

#: Longer values are cut on the page: the whole trace has them.
_MOST_CHARS = 1_200


def render_page(brief: Brief) -> str:
    """The page as HTML; whatever comes of rows or models is text in it."""
    # Markup: the drawings are elements, and nothing of a row is in them.
    from markupsafe import Markup  # noqa: PLC0415 - late, as the engine that it belongs to

    bar = bar_parts(brief)
    view: dict[str, Any] = {
        "title": f"{brief.flow} {brief.run_id}: {brief.state}",
        "style": Markup((Path(__file__).parent / "templates" / "brief.css").read_text()),  # noqa: S704 - our own file
        "flow": brief.flow,
        "night": night_of(brief),
        "state": brief.state,
        "headline": headline(brief),
        "lead": lead(brief),
        "waits": brief.waits,
        "bar": bar,
        "bar_label": ", ".join(f"{part['n']:,} {part['name']}" for part in bar),
        "compared": brief.compared_with,
        "changes": [{"words": f"{c.words}", "severity": c.severity, "badge": c.severity} for c in brief.changes],
        "unchanged": unchanged(brief),
        "figures": brief.figures,
        "figure_columns": name_columns(brief.compared_with),
        "plots": [_view_plot(plot, Markup(draw(plot))) for plot in brief.plots],  # noqa: S704 - drawn here
        "n_nights": max((len(plot.nights) for plot in brief.plots), default=0),
        "rows": [_view_row(brief, row) for row in brief.rows],
        "rows_note": brief.rows_note,
        "reasons": brief.report.reasons,
        "reasons_note": f"`overnight quarantine {brief.run_id}` lists the rows; with --retry they are asked again.",
        "lists": _view_lists(brief),
        "footer": footer(brief),
    }
    return _templates().get_template("brief.html").render(view)


def write_brief(brief: Brief, home: Path) -> Path:
    """
    Write the run's page under `home`, in the place of an earlier one; its path.

    Raises:
        OvernightError: It cannot be written there.
    """
    page, path = render_page(brief), home / "reports" / f"{brief.run_id}.html"
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OvernightError(
            f"The page {path} cannot be written ({error.strerror}). Free the disk or mend its folder, and run"
            f" `overnight report {brief.run_id}`."
        ) from error
    return path


def _view_lists(brief: Brief) -> list[dict[str, Any]]:
    sent = [f"{n:,} {state}" for state, n in sorted(brief.deliveries.items())]
    changes = {change.words for change in brief.changes}
    return [
        {"title": "Rules of the batch that failed: they hold the run", "lines": brief.report.batch_failures},
        {"title": "Warnings", "lines": [w for w in brief.report.warnings if w not in changes]},
        {"title": "Retries", "lines": brief.report.retries},
        {"title": "Review", "lines": brief.report.reviews},
        {"title": "Deliveries", "lines": sent},
    ]


def _view_plot(plot: Plot, svg: Any) -> dict[str, Any]:
    values = zip(plot.nights, *plot.series.values(), strict=True)
    return {
        "title": plot.title,
        "svg": svg,
        "legend": list(list_colours(plot).items()),
        "note": plot.note,
        "table": [[night, *("" if v is None else f"{v:,.4g}" for v in row)] for night, *row in values],
    }


def _view_row(brief: Brief, row: ShownRow) -> dict[str, Any]:
    return {
        "row_id": row.row_id,
        "why": row.why,
        "input": [(name, _cut(value)) for name, value in row.given.items()],
        "output": [(name, _cut(value)) for name, value in (row.output or {}).items()],
        "answer_title": "it was answered" if row.output else "it was not accepted",
        "reason": row.reason,
        "course": row.course,
        "command": f"overnight why {row.row_id} --run {brief.run_id}",
    }


def _cut(value: Any) -> str:
    text = show_value(value if isinstance(value, str) else orjson.dumps(value).decode())
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}… ({len(text):,} characters)"


@cache
def _templates() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 - late: the command line imports this module to print a few lines

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
