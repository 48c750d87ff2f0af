"""A batch whose rows have their outcomes, written as a part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from overnight.parts import write_part
from overnight.records import Batch, CompletedBatch, Prompt, RowState


def write_completed(batch: Batch, prompt: Prompt, rows: list[dict[str, Any]], home: Path) -> CompletedBatch:
    """Write the rows under `home`, and count them by where they stand."""
    states = [row["state"] for row in rows]
    return CompletedBatch(
        n=batch.n,
        part=write_part(rows, home),
        prompt_hash=prompt.prompt_hash,
        n_accepted=states.count(RowState.ACCEPTED),
        n_quarantined=states.count(RowState.QUARANTINED),
        n_pending=states.count(RowState.PENDING),
        step=batch.step,
    )
