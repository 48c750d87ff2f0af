"""The morning brief: one page a run, with what changed, what waits for whom, and the rows that deserve reading."""

from overnight.report.brief.gather import gather_brief
from overnight.report.brief.model import Brief
from overnight.report.brief.page import render_page, write_brief
from overnight.report.brief.words import describe_brief, summarize_brief, tell_morning

__all__ = [
    "Brief",
    "describe_brief",
    "gather_brief",
    "render_page",
    "summarize_brief",
    "tell_morning",
    "write_brief",
]
