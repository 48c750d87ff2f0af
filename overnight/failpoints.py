"""Named points at which a trial has the process killed: `OVERNIGHT_FAILPOINT=NAME`, or `NAME:N` for the N-th time."""

from __future__ import annotations

import os
import signal

_name, _, _nth = os.environ.get("OVERNIGHT_FAILPOINT", "").partition(":")
_n_left = int(_nth or 1)


def reach(name: str) -> None:
    """Go on, or end the process at once, as a power cut would."""
    global _n_left  # noqa: PLW0603 - how often a point was reached is the process's
    if name != _name:
        return
    _n_left -= 1
    if _n_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
