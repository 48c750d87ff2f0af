"""When Prefect may skip a batch: the same rows, prompt and checks, and the part made for them whole and final."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect.cache_policies import CachePolicy

from overnight.keys import digest_parts
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.manifests import find_part
from overnight.ledger.retries import list_asking
from overnight.parts import is_whole
from overnight.records import Batch, CheckedBatch, CompletedBatch, Prompt
from overnight.settings import Settings


def completed_key(batch: Batch, prompt: Prompt, ledger: Ledger) -> str:
    """
    The rows, the prompt, and the checks: row checks judge an answer before it is accepted.

    And the retries that asked the prompt: what was refused before one of them may be answered since.
    """
    return _key("complete_batch", batch, batch.digest, prompt, ledger)


def checked_key(completed: CompletedBatch, prompt: Prompt, ledger: Ledger) -> str:
    """The completed rows as they are on disk, and the checks."""
    return _key("check_batch", completed, completed.part.digest, prompt, ledger)


def _key(task: str, work: Batch | CompletedBatch, rows: str, prompt: Prompt, ledger: Ledger) -> str:
    # The ledger's id: what a ledger that is gone once answered is not taken for an answer.
    place = [ledger.ledger_id, str(work.step), str(work.n)]
    if isinstance(work, Batch):
        with ledger.reading() as connection:
            place += list_asking(connection, prompt.prompt_hash)
    digest = digest_parts("part", [*place, rows, prompt.prompt_hash, prompt.checks_hash])
    return f"{task}-{digest}"


@dataclass
class ByInputAndPrompt(CachePolicy):
    """
    A key over input and prompt hash, with a generation.

    Prefect computes the key once, before the task runs, and reads and writes by it. So a part
    that is missing, altered or has rows pending must not share a key with the one that
    replaces it: the key of the next generation has nothing stored, and the task runs.
    """

    def compute_key(
        self,
        task_ctx: Any,  # noqa: ARG002 - Prefect's signature
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],  # noqa: ARG002 - the same
        **kwargs: Any,  # noqa: ARG002 - the same
    ) -> str | None:
        """The key under which Prefect looks for the task's result and stores it."""
        settings = Settings.from_env()
        ledger = open_ledger(settings.ledger_url)
        work, prompt = inputs.get("batch") or inputs["completed"], inputs["prompt"]
        if isinstance(work, Batch):
            return self._with_generation(completed_key(work, prompt, ledger), CompletedBatch, settings, ledger)
        return self._with_generation(checked_key(work, prompt, ledger), CheckedBatch, settings, ledger)

    @staticmethod
    def _with_generation(
        key: str, kind: type[CompletedBatch | CheckedBatch], settings: Settings, ledger: Ledger
    ) -> str:
        with ledger.reading() as connection:
            found = find_part(connection, key, kind)
        if found is None:
            return f"{key}-0"
        generation, manifest = found
        is_final = manifest.n_pending == 0 and is_whole(manifest.part, settings.parts)
        return f"{key}-{generation if is_final else generation + 1}"
