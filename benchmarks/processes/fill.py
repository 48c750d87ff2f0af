"""`python -m benchmarks.processes.fill ROOT N`: a home whose ledger has the answers of N rows, kept for later."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.processes.body import encode_body
from benchmarks.processes.engine import Work, make_prompt
from benchmarks.processes.provider import ANSWER
from benchmarks.processes.source import write_source
from overnight.complete import Engine
from overnight.keys import request_key
from overnight.ledger import Ledger
from overnight.ledger.attempts import Opening, open_attempts
from overnight.ledger.bodies import make_body
from overnight.ledger.closings import Closing, close_attempts
from overnight.ledger.completions import Completion
from overnight.ledger.store import SCHEMA_VERSION
from overnight.parts import read_part
from overnight.records import Batch, Reply, Usage
from overnight.settings import Settings

#: The answer in it, as the ledger keeps it.
_OUTPUT = '{"sentiment":"neither","word":"the"}'


def main() -> None:
    """Print the home's folder; it is filled unless it is there."""
    root, n_rows = Path(sys.argv[1]), int(sys.argv[2])
    home = root / f"{n_rows}-{SCHEMA_VERSION}-{make_prompt().prompt_hash[:12]}"
    if not home.exists():
        # Of another schema or prompt, or left half filled: each takes gigabytes.
        for old in root.glob(f"{n_rows}-*"):
            shutil.rmtree(old)
        begun = home.with_suffix(".begun")
        begun.mkdir(parents=True)
        _fill(begun, n_rows)
        begun.rename(home)
    print(home)  # the last line


def _fill(home: Path, n_rows: int) -> None:
    settings = replace(Settings.from_env(), home=home, ledger_url=f"sqlite:///{home / 'ledger.sqlite'}")
    source = home / "rows.parquet"
    write_source(source, n_rows)
    with closing(Ledger(settings.ledger_url)) as ledger, closing(Engine(settings, ledger)) as engine:
        work = Work(source, make_prompt(), "fill", engine)
        work.begin()
        worker = ledger.register(settings.lease_s)
        # One function for all, so that what is opened at the same time goes into one commit.
        filling = _Filling(work, lambda connection, openings: open_attempts(connection, worker, openings))
        for batch in work.read():
            filling.record(batch)


@dataclass(frozen=True)
class _Filling:
    """The ledger's own functions, as the engine calls them for each row, but with no call between."""

    work: Work
    open_all: Callable[..., Any]

    def record(self, batch: Batch) -> None:
        ledger, now = self.work.engine.ledger, time.time()
        rows = read_part(batch.part, self.work.engine.settings.home).to_pylist()
        openings = [self._make_opening(row, now) for row in rows]
        opened = [(o, ledger.submit_each(self.open_all, o)) for o in openings]
        closings = [_make_closing(o, future.result(), now) for o, future in opened]
        for closed in [ledger.submit_each(close_attempts, c) for c in closings]:
            closed.result()

    def _make_opening(self, row: dict[str, str], now: float) -> Opening:
        prompt_hash, body = self.work.prompt.prompt_hash, make_body(encode_body(int(row["row_id"])))
        key = request_key(row["input"], prompt_hash)
        return Opening(key, prompt_hash, row["input"], body, self.work.run_id, now)


def _make_closing(opening: Opening, attempt_id: object, now: float) -> Closing:
    if not isinstance(attempt_id, int):
        raise SystemExit(f"Request {opening.key} was not opened: {attempt_id}.")
    answer = ANSWER % attempt_id
    return Closing(
        attempt_id,
        opening.key,
        now,
        "accepted",
        reply=Reply(200, answer, text=_OUTPUT, stop_reason="stop", usage=Usage(120, 12)),
        body=make_body(answer),
        cost_usd=0.0,
        completion=Completion(attempt_id, _OUTPUT),
    )


if __name__ == "__main__":
    main()
