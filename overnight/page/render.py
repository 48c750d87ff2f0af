"""Templates as pages: whatever comes of rows or models is text in them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from starlette.responses import HTMLResponse


def render(name: str, view: dict[str, Any], status: int = 200) -> HTMLResponse:
    """The template's page."""
    return HTMLResponse(_templates().get_template(name).render(view), status)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
