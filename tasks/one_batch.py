"""One batch, wherever it is completed: asked, recorded, and counted in the run's progress."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from overnight import complete
from overnight.complete import Engine
from overnight.failpoints import reach
from overnight.ledger.manifests import record_batches, record_part
from overnight.records import Batch, CompletedBatch, Prompt
from tasks.cache import completed_key


def complete_and_record(batch: Batch, prompt: Prompt, run_id: str, pass_n: int, engine: Engine) -> CompletedBatch:
    """Have a batch answered, and keep what came of it for whoever has the same rows."""
    completed = complete.complete_batch(batch, prompt, run_id=run_id, engine=engine, pass_n=pass_n)
    key = completed_key(batch, prompt, engine.ledger)
    reach("before-completed")
    engine.ledger.write(lambda connection: record_completed(connection, key, completed, run_id))
    get_run_logger().info(
        "Batch %d: %d accepted, %d quarantined, %d pending",
        *(completed.n, completed.n_accepted, completed.n_quarantined, completed.n_pending),
    )
    return completed


def record_completed(connection: sa.Connection, key: str, completed: CompletedBatch, run_id: str) -> None:
    """Keep the manifest, under its cache key and as the run's."""
    record_part(connection, key, completed, time.time())
    record_batches(connection, run_id, [completed])


@contextlib.contextmanager
def showing_progress(batches: Sequence[Batch], run_id: str, pass_n: int) -> Iterator[Callable[[CompletedBatch], None]]:
    """A bar in Prefect's UI, which is told of each batch that has ended."""
    description = "Rows completed" if pass_n == 1 else f"Rows completed, pass {pass_n}"
    artifact: Any = create_progress_artifact(progress=0.0, key=f"progress-{run_id}", description=description)
    n_rows, n_done = sum(b.n_rows for b in batches) or 1, 0

    def show(completed: CompletedBatch) -> None:
        nonlocal n_done
        n_done += completed.part.n_rows
        update_progress_artifact(artifact, progress=100.0 * n_done / n_rows)

    yield show
