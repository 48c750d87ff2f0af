"""The engine: rows rendered, keyed, asked, parsed, and committed with synchronous=FULL; a second time all are hits."""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.rows import CHECKS, PROMPT, SCHEMA, write_source
from overnight.complete import complete_batch, get_engine, resolve_prompt
from overnight.intake import read_batches
from overnight.ledger import runs
from overnight.ledger.attempts import record_prompt
from overnight.prompts import parse_prompt
from overnight.settings import Settings


def main() -> None:
    """Complete every row of the source."""
    settings = Settings.from_env()
    engine = get_engine(settings)
    prompt = resolve_prompt(parse_prompt("bench", text=PROMPT, schema=SCHEMA, checks=CHECKS))
    source = Path(os.environ["OVERNIGHT_HOME"]) / "rows.csv"
    if not source.exists():
        write_source(source)
    now, run_id = time.time(), f"bench-{time.time()}"
    engine.ledger.write(
        lambda c: runs.open_pass(
            c, run_id=run_id, flow="bench", parameters={}, flow_run_id=run_id, deployed=False, now=now
        )
    )
    engine.ledger.write(lambda c: record_prompt(c, prompt, now))
    batches = read_batches(str(source), id_column="id", inputs=prompt.inputs, optional_inputs=(), home=settings.home)
    for batch in batches:
        done = complete_batch(batch, prompt, run_id=run_id, engine=engine)
        if done.n_accepted != batch.n_rows:
            raise SystemExit(f"batch {batch.n}: {done}")


main()
