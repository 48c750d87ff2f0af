"""Values as the text that rules compare."""

from __future__ import annotations

import json
from typing import Any


def as_text(value: Any) -> str:
    """The text itself, or the value's JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def normalise(text: str) -> str:
    """The text without regard to case and white space."""
    return " ".join(text.split()).casefold()
