"""Checking: Great Expectations over every batch, in a child process of its own."""

from __future__ import annotations

import atexit
import functools
import platform
import threading
import time
from dataclasses import replace

from prefect import tags
from prefect.logging import get_run_logger

from overnight import checks
from overnight.checks import BatchValidator, parse_checks
from overnight.failpoints import reach
from overnight.ledger import open_ledger
from overnight.ledger.manifests import record_batches, record_part
from overnight.parts import read_part
from overnight.records import CheckedBatch, CompletedBatch, Prompt
from overnight.settings import Settings
from tasks.cache import ByInputAndPrompt, checked_key
from tasks.nightly import batch_task, name_task_run
from tasks.plan import find_planning
from tasks.run import current_run


def check_batches(completed: list[CompletedBatch], prompt: Prompt) -> list[CheckedBatch]:
    """Check every batch: rows that a rule refuses go to quarantine, rules of the batch that fail hold the run."""
    if planning := find_planning():
        return planning.check_batches(completed, prompt)
    run = current_run()
    run.refuse_if_stopped()
    prompt = run.load_prompt(prompt.name)
    with tags(prompt.name, prompt.model):
        futures = [check_batch.submit(batch, prompt) for batch in completed]
    checked: list[CheckedBatch] = [future.result() for future in futures]
    run.ledger.write(lambda connection: record_batches(connection, run.run_id, checked))
    return checked


_making = threading.Lock()


def get_validator() -> BatchValidator:
    """The process's validator; its child process ends with this one."""
    with _making:
        return _make_validator()


@functools.cache
def _make_validator() -> BatchValidator:
    validator = BatchValidator()
    atexit.register(validator.close)
    return validator


@batch_task(name="check-batch", task_run_name=name_task_run, cache_policy=ByInputAndPrompt())
def check_batch(completed: CompletedBatch, prompt: Prompt) -> CheckedBatch:
    """Check one batch, and write its Data Docs."""
    settings = Settings.from_env()
    ledger = open_ledger(settings.ledger_url)
    checked = checks.check_batch(
        completed,
        read_part(completed.part, settings.parts),
        replace(parse_checks(prompt.checks, prompt=prompt.name, code=prompt.code), private=prompt.private),
        prompt.checks_hash,
        get_validator(),
        suite_name=prompt.name,
        docs_dir=settings.home / "docs" / f"{prompt.name}-{prompt.prompt_hash[:8]}-{prompt.checks_hash[:8]}",
        place=settings.parts,
        home=settings.home,
        host=platform.node() if settings.parts_url else None,
    )
    key = checked_key(completed, prompt, ledger)
    reach("before-checked")
    ledger.write(lambda connection: record_part(connection, key, checked, time.time()))
    get_run_logger().info(
        "Batch %d: %d rows pass, %d are quarantined", checked.n, checked.n_accepted, checked.n_quarantined
    )
    return checked
