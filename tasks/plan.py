"""Planning: the flow's own steps, run over what the ledger has; nothing is called and nothing recorded."""

from __future__ import annotations

import contextlib
import inspect
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from prefect import Flow
from prefect.logging import disable_run_logger

from overnight.checks import assume_passed
from overnight.complete import read_source, resolve_prompt
from overnight.complete.plan import Plan, StepPlan, plan_step
from overnight.failures import InputRefused, OvernightError, PartRefused
from overnight.intake import chain_rows
from overnight.intake.quarantine import parse_quarantine
from overnight.ledger import Ledger, open_ledger
from overnight.ledger.manifests import find_part
from overnight.ledger.retries import Retry
from overnight.llm import endpoint_of, parse_model
from overnight.parts import read_part, write_part
from overnight.prompts import load_prompt
from overnight.records import Batch, CheckedBatch, CompletedBatch, Prompt, RunState
from overnight.settings import Settings
from tasks.cache import checked_key
from tasks.run import refuse_unfit_checks


class _PlanEnds(BaseException):
    """The flow has come to its gate; no `except` of a flow is meant to stop it there."""


class Planning:
    """
    What stands in for a run while a flow is planned: each step asks it first.

    Args:
        settings: As a run would have them.
        ledger: Only read.
        place: A folder for this plan's parts; the project's own is left as it is.
    """

    def __init__(self, settings: Settings, ledger: Ledger, place: Path) -> None:
        self._settings = settings
        self._ledger = ledger
        self._place = place
        self._source: str | None = None
        self._batches: list[Batch] = []
        self._steps: list[StepPlan] = []
        #: Where the source is another run's quarantine.
        self._retry: Retry | None = None
        #: By the name of the prompt that would read them: rows that may still come.
        self._n_unknown: dict[str, int] = {}

    @property
    def plan(self) -> Plan:
        """What the steps so far would do."""
        return Plan(self._source, sum(batch.n_rows for batch in self._batches), tuple(self._steps))

    def load_prompt(self, name: str) -> Prompt:
        """The folder's prompt, refused as a run would refuse it."""
        prompt = load_prompt(name)
        refuse_unfit_checks(prompt)
        return prompt

    def load_batches(self, source: str, prompt: Prompt) -> list[Batch]:
        """The source's rows in batches."""
        if self._source not in (None, source):
            raise InputRefused(
                f"A run reads one source: it would have pinned {self._source}, and {source} is another."
                " Give each a flow of its own."
            )
        if not self._batches:
            batches = read_source(source, prompt, ledger=self._ledger, settings=self._settings, place=self._place)
            if asked := parse_quarantine(source):
                # It has not begun: whatever was refused so far was refused before it.
                self._retry = Retry("", asked.run_id, math.inf, RunState.RUNNING)
            self._source, self._batches = source, list(batches)
        return self._batches

    def complete_batches(self, batches: list[Batch], prompt: Prompt, model: str | None) -> list[CompletedBatch]:
        """The batches with the answers that are there; the other rows are pending."""
        # The endpoint is part of the hash; whether the model is ready for calls matters to a run alone.
        prompt = resolve_prompt(prompt, model, endpoint=endpoint_of(parse_model(model or prompt.model)))
        with self._ledger.reading() as connection:
            step, completed = plan_step(
                batches,
                prompt,
                n_unknown=self._n_unknown.get(prompt.name, 0),
                connection=connection,
                settings=self._settings,
                place=self._place,
                retry=self._retry,
            )
        self._steps.append(step)
        return completed

    def check_batches(self, completed: list[CompletedBatch], prompt: Prompt) -> list[CheckedBatch]:
        """The batches as they were checked before; one that was not counts as if all of its rows passed."""
        return [self._find_checked(batch, prompt) or assume_passed(batch, prompt.checks_hash) for batch in completed]

    def chain_batches(
        self, checked: list[CheckedBatch], prompt: Prompt, where: Mapping[str, Sequence[Any]] | None
    ) -> list[Batch]:
        """What is accepted so far, as input of the next prompt; how many rows may still come is kept for its plan."""
        if not checked:
            # Nothing came to the step before; what it waits for, this one waits for.
            self._n_unknown[prompt.name] = self._steps[-1].n_unknown if self._steps else 0
            return []
        answered = self._get_step(checked[0].prompt_hash)
        self._n_unknown[prompt.name] = answered.n_unknown + sum(batch.n_pending for batch in checked)
        chained = chain_rows(checked, answered=answered.prompt, prompt=prompt, where=where or {}, place=self._place)
        return list(chained)

    def ask_approval(self) -> NoReturn:
        """End the flow: what comes after depends on a person."""
        raise _PlanEnds

    def _get_step(self, prompt_hash: str) -> StepPlan:
        return next(step for step in reversed(self._steps) if step.prompt.prompt_hash == prompt_hash)

    def _find_checked(self, completed: CompletedBatch, prompt: Prompt) -> CheckedBatch | None:
        prompt = replace(prompt, prompt_hash=completed.prompt_hash)
        with self._ledger.reading() as connection:
            found = find_part(connection, checked_key(completed, prompt, self._ledger), CheckedBatch)
        if found is None:
            return None
        try:
            rows = read_part(found[1].part, self._settings.parts).to_pylist()
        except PartRefused:
            return None
        return replace(found[1], part=write_part(rows, self._place))


_current: ContextVar[Planning | None] = ContextVar("planning", default=None)


def find_planning() -> Planning | None:
    """The plan that the calling step is part of; None in a run."""
    return _current.get()


def plan_flow(flow: Flow[Any, Any], parameters: Mapping[str, Any], settings: Settings) -> Plan:
    """
    What a run of the flow would do; the ledger is read, and where there is none, none is made.

    A ledger of an older schema is migrated, as by every command that opens it.

    Raises:
        OvernightError: A run would be refused: its prompt, its source, its model's name, or its parameters.
    """
    steps = getattr(flow.fn, "__wrapped__", flow.fn)
    try:
        call = inspect.signature(steps).bind(**parameters)
    except TypeError as error:
        raise OvernightError(
            f"The flow {flow.name} cannot be planned: {error}. Give the parameter a default."
        ) from error
    with tempfile.TemporaryDirectory(prefix="overnight-plan-") as folder, _opening(settings, Path(folder)) as ledger:
        planning = Planning(settings, ledger, Path(folder))
        token = _current.set(planning)
        try:
            with disable_run_logger():  # a flow's own lines have no flow run to go to
                steps(*call.args, **call.kwargs)
        except _PlanEnds:
            pass
        finally:
            _current.reset(token)
        return planning.plan


@contextlib.contextmanager
def _opening(settings: Settings, folder: Path) -> Iterator[Ledger]:
    """The project's ledger, or an empty one beside the plan's parts where the project has none."""
    path = settings.ledger_url.removeprefix("sqlite:///")
    if path == settings.ledger_url or Path(path).exists():
        yield open_ledger(settings.ledger_url)
        return
    with contextlib.closing(Ledger(f"sqlite:///{folder / 'ledger.sqlite'}")) as ledger:
        yield ledger
