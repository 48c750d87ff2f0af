"""Why a row says what it says: from its input to its delivery, out of the ledger alone."""

from overnight.report.why.explain import explain_row
from overnight.report.why.tree import render_row

__all__ = ["explain_row", "render_row"]
