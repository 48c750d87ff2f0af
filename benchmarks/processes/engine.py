"""`python -m benchmarks.processes.engine SOURCE`: the source read into batches, and every row of them completed."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.meter import metered
from benchmarks.processes.source import write_source
from benchmarks.rows import CHECKS, PROMPT, SCHEMA
from overnight.complete import Engine, complete_batch, get_engine, resolve_prompt
from overnight.intake import read_batches
from overnight.ledger import runs
from overnight.ledger.attempts import record_prompt
from overnight.prompts import parse_prompt
from overnight.records import Batch, Prompt
from overnight.settings import Settings

#: How the interpreter comes.
_SWITCH_EVERY_S = sys.getswitchinterval()
#: Batches that a flow works on at once.
N_BATCHES = 4


@dataclass(frozen=True)
class Work:
    """One run over one source, as a flow does it, without Prefect."""

    source: Path
    prompt: Prompt
    run_id: str
    engine: Engine

    def begin(self) -> None:
        """Record the run and its prompt."""
        now, ledger = time.time(), self.engine.ledger
        ledger.write(
            lambda connection: runs.open_pass(
                connection,
                run_id=self.run_id,
                flow="bench",
                parameters={},
                flow_run_id=self.run_id,
                deployed=False,
                now=now,
            )
        )
        ledger.write(lambda connection: record_prompt(connection, self.prompt, now))

    def read(self) -> list[Batch]:
        """Intake."""
        home, inputs = self.engine.settings.home, self.prompt.inputs
        return list(read_batches(str(self.source), id_column="id", inputs=inputs, optional_inputs=(), place=home))

    def complete(self) -> None:
        """Read the source and complete all of it; a row that is not accepted ends the process."""
        with ThreadPoolExecutor(N_BATCHES) as pool:
            list(pool.map(self._complete, self.read()))

    def _complete(self, batch: Batch) -> None:
        done = complete_batch(batch, self.prompt, run_id=self.run_id, engine=self.engine)
        if done.n_accepted != batch.n_rows:
            raise SystemExit(f"batch {batch.n}: {done}")


def make_prompt(endpoint: str | None = None) -> Prompt:
    """The prompt, as the environment or the caller says where to."""
    return resolve_prompt(parse_prompt("bench", text=PROMPT, schema=SCHEMA, checks=CHECKS), endpoint=endpoint)


def warm_up(engine: Engine, run_id: str) -> None:
    """One row that nobody counts: what is imported late is start-up too."""
    source = engine.settings.home / "warm-up.parquet"
    write_source(source, 1)
    work = Work(source, make_prompt(os.environ["BENCH_UNCOUNTED_URL"]), f"{run_id}-warm-up", engine)
    work.begin()
    work.complete()
    # What its lane has set is for those who make one: a run of hits makes none.
    sys.setswitchinterval(_SWITCH_EVERY_S)


def main() -> None:
    """Complete every row of the source."""
    engine, run_id = get_engine(Settings.from_env()), f"bench-{time.time()}"
    work = Work(Path(sys.argv[1]), make_prompt(), run_id, engine)
    warm_up(engine, run_id)
    with metered():
        work.begin()
        work.complete()


if __name__ == "__main__":
    main()
