"""A comparison as one HTML file that needs nothing besides itself, and as an object."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from overnight.report.diff import Diff
from overnight.report.diff_sides import Side
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
from overnight.report.text import show_value


def render_diff_page(diff: Diff) -> str:
    """The page; whatever comes of rows or models is text in it."""
    return _template().render(
        diff=diff,
        pairs=say_pairs(diff),
        outcomes=say_outcomes(diff.outcomes),
        whole=say_whole(diff),
        said=say_said(diff),
        heads=FIGURES,
        figures=[("A", list_figures(diff.figures[0])), ("B", list_figures(diff.figures[1]))],
        note=FIGURES_NOTE,
        agreement=say_agreement,
        most=max((change.n for change in diff.label_changes), default=1),
    )


def as_object(diff: Diff) -> dict[str, Any]:
    """The one object that `--json` prints."""
    found = {name: value for name, value in vars(diff).items() if name not in ("a", "b")}
    plain = {name: _plain(value) for name, value in found.items()}
    return {"a": _side_as_object(diff.a), "b": _side_as_object(diff.b)} | plain


def _side_as_object(side: Side) -> dict[str, Any]:
    return {
        "name": side.name,
        "run_id": side.run_id,
        "step": side.step,
        "prompt": side.version.name,
        "prompt_hash": side.version.prompt_hash,
        "model": side.version.model,
        "endpoint": side.version.endpoint,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = _show
    return environment.get_template("diff.html")


def _show(value: Any) -> str:
    """A value whose control characters are seen."""
    return show_value(value).replace("\n        ", "\n")
