"""`python -m tests.trials.worker HOME ENDPOINT RUN NIGHTLY_USD`: one process of a night that others share."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import orjson

from overnight.complete import Engine
from overnight.ledger import Ledger
from overnight.llm import parse_model, worst_usd
from tests.conftest import House, make_settings
from tests.trials.night import Night, cut_source


def main() -> None:
    """Take rows on one line, complete them after the next; print how many, and why not all."""
    home, endpoint, run_id, cap = Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
    ledger_url = f"sqlite:///{home / 'ledger.sqlite'}"
    settings = make_settings(home, ledger_url, concurrency=8, nightly_budget_usd=cap)
    texts = orjson.loads(sys.stdin.readline())
    with closing(Ledger(settings.ledger_url)) as ledger, closing(Engine(settings, ledger)) as engine:
        house = House(settings, ledger)
        house.begin(run_id)
        prompt = house.make_prompt(model="openai:gpt-4o", endpoint=endpoint)
        night = Night(house, engine, prompt, cut_source(home, texts, run_id), run_id)
        # The client's imports and the list of prices come with the first call, and take their time.
        engine.run(engine.lane(prompt.model, prompt.endpoint))
        worst_usd(parse_model(prompt.model), b"", 0)
        print("ready", flush=True)  # noqa: T201 - whoever started it waits for this
        sys.stdin.readline()
        ended = night.work()
    print(orjson.dumps({"accepted": ended.n_accepted, "why": ended.why}).decode())  # noqa: T201 - its result


main()
