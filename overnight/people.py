"""Whom to tell: the URLs of `OVERNIGHT_NOTIFY`, from the environment or from a file that nobody else reads."""

from __future__ import annotations

import stat
from pathlib import Path

from overnight.failures import OvernightError


def read_notify(given: str) -> tuple[str, ...]:
    """
    The URLs of a setting that holds them, separated by spaces, or the path of a file with one a line.

    No message shows what was given: without its scheme, a URL is taken for a path.

    Raises:
        OvernightError: The file cannot be read, or others than its owner can read it.
    """
    if not given.strip() or "://" in given:
        return tuple(given.split())
    path = Path(given.strip())
    try:
        if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            raise OvernightError(
                f"Others than its owner can read {path}, and the URLs of OVERNIGHT_NOTIFY hold tokens. Do: chmod 600"
                f" {path}"
            )
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise OvernightError(
            f"OVERNIGHT_NOTIFY is neither a URL with its SCHEME:// nor a file that can be read ({why}). Correct it."
        ) from None
    return tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
