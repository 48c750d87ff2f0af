"""A night without Prefect: the batches of a source gone over in passes, as `tasks.complete` does it."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from overnight.complete import Engine, complete_batch, complete_in_passes, describe_halt, take_back
from overnight.intake import read_batches
from overnight.ledger import Ledger
from overnight.parts import read_part
from overnight.records import Batch, CompletedBatch, Prompt
from tests.conftest import RUN, House

#: Batches that Prefect's runner works on at a time.
N_AT_ONCE = 4


@dataclass(frozen=True)
class Ended:
    """What a night came to."""

    completed: Sequence[CompletedBatch]
    n_passes: int
    seconds: float
    #: Why the run halted; empty where it did not.
    why: str

    @property
    def n_accepted(self) -> int:
        return sum(batch.n_accepted for batch in self.completed)

    @property
    def n_quarantined(self) -> int:
        return sum(batch.n_quarantined for batch in self.completed)

    @property
    def n_pending(self) -> int:
        return sum(batch.n_pending for batch in self.completed)

    @property
    def states(self) -> tuple[int, int, int]:
        """Rows accepted, quarantined and pending."""
        return self.n_accepted, self.n_quarantined, self.n_pending


@dataclass(frozen=True)
class Night:
    """One run over one source, in one engine."""

    house: House
    engine: Engine
    prompt: Prompt
    batches: Sequence[Batch]
    run_id: str = RUN

    def work(self) -> Ended:
        """Go over the batches until no row is left, the run halts, or four passes are over."""
        context, started = self.engine.begin_pass(self.run_id), time.monotonic()
        n_passes = 0

        def complete(batches: Sequence[Batch], pass_n: int) -> list[CompletedBatch]:
            nonlocal n_passes
            n_passes = pass_n
            return self._complete(batches, pass_n)

        asked = complete_in_passes(self.batches, complete, context=context, engine=self.engine)
        completed = {b.n: b for b in [*asked, *take_back(asked, context, self.engine)]}
        n_left = sum(batch.n_pending for batch in completed.values())
        why = describe_halt(context, self.prompt, n_left, self.engine.ledger) if context.halted else ""
        return Ended(list(completed.values()), n_passes, time.monotonic() - started, why)

    def read_rows(self, ended: Ended) -> list[dict[str, Any]]:
        """What became of each row."""
        return [row for batch in ended.completed for row in read_part(batch.part, self.house.home).to_pylist()]

    @contextmanager
    def continued(self, **changes: Any) -> Iterator[Night]:
        """The same run in an engine and a ledger connection of its own, as in another process."""
        settings = replace(self.engine.settings, **changes)
        with closing(Ledger(settings.ledger_url)) as ledger, closing(Engine(settings, ledger)) as engine:
            yield replace(self, engine=engine)

    def _complete(self, batches: Sequence[Batch], n_pass: int) -> list[CompletedBatch]:
        def complete(batch: Batch) -> CompletedBatch:
            return complete_batch(batch, self.prompt, run_id=self.run_id, engine=self.engine, pass_n=n_pass)

        with ThreadPoolExecutor(N_AT_ONCE) as pool:
            return list(pool.map(complete, batches))


def cut_source(home: Path, texts: Sequence[str], name: str = "rows") -> list[Batch]:
    """The texts as batches of rows r1, r2, …, through a CSV file; each text ends with its row's id."""
    source = home / f"{name}.csv"
    with source.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "body"])
        rows.writerows([f"r{n}", f"{text} r{n}"] for n, text in enumerate(texts, 1))
    return list(read_batches(str(source), id_column="id", inputs=("body",), optional_inputs=(), place=home))
