"""The run that a flow works on: opened once, continued by every later Prefect flow run of it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace

import sqlalchemy as sa

from overnight.approve import demands_code, find_continued
from overnight.checks import parse_checks, refuse_unknown_fields
from overnight.complete import Engine, get_engine, resolve_prompt
from overnight.complete.mode import find_by_at, resolve_mode
from overnight.failures import LedgerRefused, OvernightError, RunHalted
from overnight.inbox.fence import find_lost
from overnight.ledger import Ledger, terms
from overnight.ledger import runs as ledger_runs
from overnight.ledger.attempts import record_prompt
from overnight.ledger.manifests import find_batches, replace_input
from overnight.ledger.releases import find_release
from overnight.ledger.retries import Retry, find_left, find_retry
from overnight.ledger.reviews import find_last_answer
from overnight.parts import is_whole
from overnight.prompts import load_prompt, parse_prompt
from overnight.records import CompletedBatch, Mode, Prompt, Release, RunState, SinkFacts
from overnight.settings import Settings


@dataclass(frozen=True)
class Run:
    """One pass over one pinned input, as its flow sees it."""

    run_id: str
    flow: str
    deployed: bool
    settings: Settings
    ledger: Ledger

    @property
    def engine(self) -> Engine:
        """The process's engine, started when it is first needed."""
        return get_engine(self.settings)

    def load_prompt(self, name: str) -> Prompt:
        """The prompt that the run pinned, or the folder's, pinned now."""
        pinned = find_pinned(self.ledger, self.run_id, name)
        if pinned is None:
            prompt = load_prompt(name)
            refuse_unfit_checks(prompt)
            self.ledger.write(lambda connection: ledger_runs.pin_prompt(connection, self.run_id, prompt))
            return prompt
        return pinned

    def pin_model(self, prompt: Prompt, model: str | None) -> Prompt:
        """The prompt with the model that the run sends it to, from the first pass on."""
        if prompt.prompt_hash:
            return prompt
        resolved, now = resolve_prompt(prompt, model), time.time()
        self.ledger.write(lambda connection: record_prompt(connection, resolved, now))
        self.ledger.write(lambda connection: ledger_runs.pin_model(connection, self.run_id, resolved))
        return resolved

    def pin_mode(self, prompt: Prompt) -> Mode:
        """How the run asks the prompt's rows, and by when it is to be done, as pinned; by hand it may be changed."""
        said = Mode(self.settings.mode) if self.settings.mode else None

        def pin(connection: sa.Connection) -> Mode:
            pinned, by_at = terms.find_mode(connection, self.run_id)
            # What a worker's environment says is for the runs to come.
            explicit = (pinned if self.deployed else said) or pinned or said
            if pinned not in (None, explicit):
                terms.change_mode(connection, self.run_id, explicit, time.time())
            mode, by = resolve_mode(prompt, prompt.model, replace(self.settings, mode=explicit))
            if by_at is None and by is not None:
                by_at = find_by_at(by, terms.find_begun_at(connection, self.run_id))
            terms.pin_mode(connection, self.run_id, explicit, by_at)
            return mode

        return self.ledger.write(pin)

    def find_prompt(self, prompt_hash: str) -> Prompt:
        """The run's prompt that has this hash."""
        with self.ledger.reading() as connection:
            name = ledger_runs.get_prompt_name(connection, self.run_id, prompt_hash)
        return self.load_prompt(name)

    def find_offered(self, step: int) -> dict[int, CompletedBatch]:
        """
        Where the run has offered its release: the step's batches with rows pending or refused then, by number.

        What such a row is answered since, in a retry, is the retry's to release.
        """
        with self.ledger.reading() as connection:
            if find_release(connection, self.run_id) is None:
                return {}
            completed = find_batches(connection, self.run_id, CompletedBatch, step=step)
        place = self.settings.parts
        return {b.n: b for b in completed if b.n_pending or (b.n_quarantined and is_whole(b.part, place))}

    def find_left(self, prompt: str | None = None) -> dict[str, str]:
        """Rows that are left to another run of its family, as answers to this prompt or any: that run by row id."""
        with self.ledger.reading() as connection:
            return find_left(connection, self.run_id, prompt=prompt)

    def find_lost(self) -> dict[str, str]:
        """Rows of requests that another run has taken over: that run by row id."""
        return find_lost(self.run_id, ledger=self.ledger, place=self.settings.parts)

    def forget_input(self, prompt: Prompt) -> None:
        """What an earlier pass of the run had this prompt read, where it reads nothing now."""

        def forget(connection: sa.Connection) -> None:
            step = ledger_runs.find_step(connection, self.run_id, prompt.name)
            if step > 1:
                replace_input(connection, self.run_id, prompt.name, step, [])

        self.ledger.write(forget)

    def refuse_if_stopped(self) -> None:
        """
        Begin no further step where the run has been stopped by hand.

        Raises:
            RunHalted: It has.
        """
        if halted := self.engine.context(self.run_id).halted:
            raise RunHalted(f"Run {self.run_id} halted: {halted} Run the flow again: what was answered is a hit.")

    def find_retry(self) -> Retry | None:
        """The run as a retry of another's quarantined rows; None where it is none."""
        with self.ledger.reading() as connection:
            return find_retry(connection, self.run_id)

    def reload_release(self, release: Release) -> Release:
        """The release as it stands now, with the answers that it has had."""
        with self.ledger.reading() as connection:
            return find_release(connection, self.run_id, release.sink) or release

    def find_said(self, release: Release) -> str | None:
        """What the last answer to the release came to, in words."""
        with self.ledger.reading() as connection:
            last = find_last_answer(connection, release.release_id)
        return last.detail if last else None

    def demands_code(self, release: Release) -> bool:
        """Whether its reviewers show a one-time code."""
        with self.ledger.reading() as connection:
            return demands_code(connection, release)

    def set_state(self, state: RunState, reason: str | None = None, *, within_s: float | None = None) -> None:
        """
        Record where the run stands, and why.

        Args:
            state: Where.
            reason: Why.
            within_s: How long to wait for the ledger; by default as long as it is patient.

        Raises:
            LedgerRefused: It is away for longer than that. What was not waited for is still written when it comes.
        """
        done = self.ledger.submit(lambda connection: ledger_runs.set_state(connection, self.run_id, state, reason))
        try:
            done.result(within_s)
        except TimeoutError as error:
            raise LedgerRefused(
                f"That run {self.run_id} is {state} was not recorded within {within_s} s. Look whether the ledger's"
                " database answers."
            ) from error


def refuse_lost_rows(run: Run, sink: SinkFacts) -> None:
    """
    Refuse a retry whose rows could not join what its sink holds.

    Raises:
        ApprovalRefused: They would take the place of another release.
    """
    with run.ledger.reading() as connection:
        retry = find_retry(connection, run.run_id)
        is_offered = find_release(connection, run.run_id, sink.name) is not None
    if retry and not is_offered:
        find_continued(run.ledger, retry.of_run, sink, run_id=run.run_id)


def find_pinned(ledger: Ledger, run_id: str, name: str) -> Prompt | None:
    """The prompt as the run pinned it, with the model and endpoint that it is sent to."""
    with ledger.reading() as connection:
        pinned = ledger_runs.find_pinned_prompt(connection, run_id, name)
    if pinned is None:
        return None
    prompt = parse_prompt(name, text=pinned.text, schema=pinned.schema, checks=pinned.checks, code=pinned.code)
    return resolve_prompt(prompt, pinned.model, endpoint=pinned.endpoint) if pinned.endpoint else prompt


def refuse_unfit_checks(prompt: Prompt) -> None:
    checks = parse_checks(prompt.checks, prompt=prompt.name, code=prompt.code)
    fields = list(json.loads(prompt.schema)["properties"])
    inputs = (*prompt.inputs, *prompt.optional_inputs)
    refuse_unknown_fields(checks, prompt=prompt.name, fields=fields, inputs=inputs)


_current: ContextVar[Run] = ContextVar("run")


def current_run() -> Run:
    """
    The run of the flow that calls.

    Raises:
        OvernightError: The flow was not made with `nightly_flow`.
    """
    try:
        return _current.get()
    except LookupError:
        raise OvernightError("No run is open here. Call this step inside a flow made with @nightly_flow.") from None


@contextlib.contextmanager
def working_on(run: Run) -> Iterator[None]:
    """The run is `current_run` for as long as the context lasts."""
    token = _current.set(run)
    try:
        yield
    finally:
        _current.reset(token)
