"""`python -m benchmarks.processes.trace HOME`: a filled home's rows as a checked run; the middle one set aside."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from benchmarks.processes.engine import Work, make_prompt
from overnight.checks import assume_passed
from overnight.complete import Engine, complete_batch
from overnight.ledger import Ledger
from overnight.ledger.manifests import find_batches, record_batches
from overnight.ledger.runs import pin_model, pin_prompt
from overnight.parts import read_part, write_part
from overnight.records import Batch, CheckedBatch, CompletedBatch
from overnight.settings import Settings

#: The run that the fill has recorded its attempts under.
_RUN = "fill"


def main() -> None:
    """Record it, unless it is recorded."""
    home = Path(sys.argv[1])
    settings = replace(Settings.from_env(), home=home, ledger_url=f"sqlite:///{home / 'ledger.sqlite'}")
    with closing(Ledger(settings.ledger_url)) as ledger, closing(Engine(settings, ledger)) as engine:
        with ledger.reading() as connection:
            if find_batches(connection, _RUN, CheckedBatch):
                return
        _record(Work(home / "rows.parquet", make_prompt(), _RUN, engine))


def _record(work: Work) -> None:
    ledger, home = work.engine.ledger, work.engine.settings.home
    ledger.write(lambda connection: pin_prompt(connection, _RUN, work.prompt))
    ledger.write(lambda connection: pin_model(connection, _RUN, work.prompt))
    batches = work.read()
    middle = sum(batch.n_rows for batch in batches) // 2
    first = 1
    manifests: list[tuple[Batch, CompletedBatch, CheckedBatch]] = []
    for batch in batches:
        completed = complete_batch(batch, work.prompt, run_id=_RUN, engine=work.engine)
        checked = assume_passed(completed, work.prompt.checks_hash)
        if first <= middle < first + batch.n_rows:
            checked = _set_aside(checked, middle - first, home)
        manifests.append((batch, completed, checked))
        first += batch.n_rows
    for stage in zip(*manifests, strict=True):
        ledger.write(lambda connection, stage=stage: record_batches(connection, _RUN, list(stage)))  # type: ignore[misc]


def _set_aside(checked: CheckedBatch, at: int, home: Path) -> CheckedBatch:
    rows = read_part(checked.part, home).to_pylist()
    why = {"state": "quarantined", "failure_class": "batch_rule", "rule": "bench", "reason": "It is the middle one."}
    rows[at] |= why
    part = write_part(rows, home)
    return replace(checked, part=part, n_accepted=checked.n_accepted - 1, n_quarantined=checked.n_quarantined + 1)


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"{time.monotonic() - started:.0f} s")
