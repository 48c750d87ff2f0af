"""Masking: an address as a message may show it."""

from __future__ import annotations

import re


def mask_address(sink: str) -> str:
    """An address for a message: without what stands before an @, a port that is no number, a query and a fragment."""
    shown = re.sub(r"^(\w[\w+.-]*:(?://)?)?.*@", r"\1…@", sink, flags=re.DOTALL)
    shown = re.sub(r"^(\w[\w+.-]*://[^/?#:]*:)(?!\d*([/?#]|$)).*", r"\1…", shown, flags=re.DOTALL)
    return repr(re.sub(r"([?#]).+", r"\1…", shown, flags=re.DOTALL))
