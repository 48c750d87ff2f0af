"""What the ledger says, for people: what a run came to, and why a row says what it says."""

from overnight.report.measure import RunReport, escape_field, escape_markdown, measure, render_markdown, tell_masked
from overnight.report.notices import tell_end, tell_over, tell_soon, tell_waiting
from overnight.report.text import describe_effect, describe_private, describe_seeds, describe_task, show_value
from overnight.report.why import explain_row, render_row

__all__ = [
    "RunReport",
    "describe_effect",
    "describe_private",
    "describe_seeds",
    "describe_task",
    "escape_field",
    "escape_markdown",
    "explain_row",
    "measure",
    "render_markdown",
    "render_row",
    "show_value",
    "tell_end",
    "tell_masked",
    "tell_over",
    "tell_soon",
    "tell_waiting",
]
