"""Private values taken out of what is recorded of a failure: of the row's input, and of the answer that was refused."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from overnight.complete.closing import CheckFailed
from overnight.failures import CallFailed
from overnight.masking import Veil


def hide_private(failure: CallFailed, private: Collection[str], given: Mapping[str, Any]) -> None:
    """
    Leave no private value in a failure's message.

    A provider may repeat the row, a row check quotes the answer, and what halts a run is told to people.
    """
    if private:
        failure.args = (Veil(private, given, _find_answer(failure)).hide_text(str(failure)),)


def _find_answer(failure: CallFailed) -> Mapping[str, Any] | None:
    """What the model said, where it is an object, whether it fits the schema or not."""
    text = failure.output if isinstance(failure, CheckFailed) else failure.reply and failure.reply.text
    try:
        found = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
