"""The morning brief: one page a run, with what changed, what waits for whom, and the rows that deserve reading."""

from overnight.report.brief.gather import find_figures, gather_brief
from overnight.report.brief.model import Brief
from overnight.report.brief.page import render_page, write_brief
from overnight.report.brief.words import describe_brief, name_columns, summarize_brief, tell_morning

__all__ = [
    "Brief",
    "describe_brief",
    "find_figures",
    "gather_brief",
    "name_columns",
    "render_page",
    "summarize_brief",
    "tell_morning",
    "write_brief",
]
