"""Automatic verdicts: row rules before an answer is accepted, batch rules on what was accepted."""

from overnight.checks.drift import DriftLimit, DriftRule, find_limit
from overnight.checks.faults import RowFault
from overnight.checks.memory import BatchMemory
from overnight.checks.parse import Checks, parse_checks, refuse_unknown_fields
from overnight.checks.rows import RowRule, check_row
from overnight.checks.share import find_excess
from overnight.checks.validator import BatchValidator
from overnight.checks.verdict import assume_passed, check_batch

__all__ = [
    "BatchMemory",
    "BatchValidator",
    "Checks",
    "DriftLimit",
    "DriftRule",
    "RowFault",
    "RowRule",
    "assume_passed",
    "check_batch",
    "check_row",
    "find_excess",
    "find_limit",
    "parse_checks",
    "refuse_unknown_fields",
]
