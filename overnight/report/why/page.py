"""A row's history as a page of its own: no script, nothing fetched, whatever comes of rows or models is text in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from overnight.report.why.outline import make_outline
from overnight.report.why.words import write_out


def render_page(told: dict[str, Any]) -> str:
    """What `explain_row` told, as one HTML file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["codes"] = _show_codes
    answer = {name: write_out(value) for name, value in (told.get("output") or {}).items()}
    return environment.get_template("page.html").render(root=make_outline(told), answer=answer)


def _show_codes(text: str) -> str:
    """Control characters, which could hide text from its reader, by their codes."""
    from overnight.report.text import show_value  # noqa: PLC0415

    return "\n".join(show_value(line) for line in text.split("\n"))
