"""What the server's owner is told: one line a fault, on standard error."""

from __future__ import annotations

import logging

_log = logging.getLogger("overnight.serve")


def say(fault: Exception) -> None:
    """Tell it in one line."""
    _log.error("overnight: %s", " ".join(str(fault).split()))
