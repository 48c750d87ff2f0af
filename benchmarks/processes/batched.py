"""`python -m benchmarks.processes.batched SOURCE`: every row of a source completed in provider batches."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.meter import metered
from benchmarks.processes.engine import N_BATCHES, Work, make_prompt, warm_up
from overnight.complete import Turn, begin_turn, complete_batch, end_turn, get_engine
from overnight.records import Batch
from overnight.settings import Settings

#: Its batches are looked at so often, at the most.
_MOST_TURNS = 10


@dataclass(frozen=True)
class BatchedWork(Work):
    """One run over one source in batch mode, as a flow does it, without Prefect."""

    def complete(self) -> None:
        """Read the source, hand all of it over, and judge what came back."""
        context, batches = self.engine.context(self.run_id), self.read()
        for _ in range(_MOST_TURNS):
            begin_turn(context, self.engine)
            with ThreadPoolExecutor(N_BATCHES) as pool:
                n_accepted = sum(pool.map(self._go_over, batches))
            if end_turn(context, self.engine) is Turn.OVER:
                break
        if n_accepted != sum(batch.n_rows for batch in batches):
            raise SystemExit(f"{n_accepted} rows were accepted")

    def _go_over(self, batch: Batch) -> int:
        return complete_batch(batch, self.prompt, run_id=self.run_id, engine=self.engine).n_accepted


def main() -> None:
    """Complete every row of the source."""
    engine, run_id = get_engine(Settings.from_env()), f"bench-{time.time()}"
    warm_up(engine, run_id)
    work = BatchedWork(Path(sys.argv[1]), make_prompt(), run_id, engine)
    with metered():
        work.begin()
        work.complete()


if __name__ == "__main__":
    main()
