"""Chaining: the checked answers of one prompt become the input of the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.logging import get_run_logger

from overnight.intake import chain_rows
from overnight.ledger import open_ledger
from overnight.ledger.manifests import replace_input
from overnight.records import Batch, CheckedBatch, Prompt
from overnight.settings import Settings
from tasks.hold import hold_on_failures
from tasks.nightly import batch_task
from tasks.plan import find_planning
from tasks.run import current_run


def chain_batches(
    checked: list[CheckedBatch], prompt: Prompt, where: Mapping[str, Sequence[Any]] | None = None
) -> list[Batch]:
    """
    The accepted rows of one step as input of the next prompt, which may read their columns and their answers.

    Args:
        checked: What the check step returned.
        prompt: The prompt that reads them.
        where: Take only rows whose fields have one of these values, such as {"urgency": ["high"]}.

    Raises:
        RunEnded: The step before is held: too many of its rows were quarantined, or a rule of a batch failed.
        InputRefused: A column that is named is not there.
    """
    if planning := find_planning():
        return planning.chain_batches(checked, prompt, where)
    run = current_run()
    run.refuse_if_stopped()
    if not checked:
        run.forget_input(prompt)
        return []
    hold_on_failures(checked, run)
    answered = run.find_prompt(checked[0].prompt_hash)
    chained: Any = pin_chain.submit(checked, answered, prompt, dict(where or {}), run.run_id).result()
    return list(chained)


@batch_task(name="chain-batches", task_run_name="chain-{prompt.name}")
def pin_chain(
    checked: list[CheckedBatch], answered: Prompt, prompt: Prompt, where: dict[str, Any], run_id: str
) -> list[Batch]:
    """Write the rows that go on as parts; a later pass with more accepted rows makes them anew."""
    settings = Settings.from_env()
    chained = list(chain_rows(checked, answered=answered, prompt=prompt, where=where, place=settings.parts))
    step = checked[0].step + 1
    open_ledger(settings.ledger_url).write(
        lambda connection: replace_input(connection, run_id, prompt.name, step, chained)
    )
    n_rows, n_before = sum(b.n_rows for b in chained), sum(b.n_accepted for b in checked)
    get_run_logger().info("%d of %d accepted rows go on to %s", n_rows, n_before, prompt.name)
    return chained
