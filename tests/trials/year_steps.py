"""A night of a year, as the tasks of a flow do it without Prefect; and a purge."""

from __future__ import annotations

import getpass
import json
import random
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from overnight import checks
from overnight.checks import parse_checks
from overnight.complete import Engine, resolve_prompt
from overnight.failpoints import reach
from overnight.intake import read_batches
from overnight.ledger import runs
from overnight.ledger.attempts import record_prompt
from overnight.ledger.manifests import find_batches, record_batches, record_part
from overnight.ledger.releases import find_release
from overnight.parts import read_part
from overnight.prompts import parse_prompt
from overnight.purge import purge
from overnight.records import Batch, CheckedBatch, CompletedBatch, Prompt, RunState
from overnight.report.compared import compare_step
from tests.conftest import House
from tests.trials.night import Night
from tests.trials.year import LABELS
from tests.trials.year_bench import Judge
from tests.trials.year_house import MODEL, end, open_house, open_pass

if TYPE_CHECKING:
    from tests.trials.year_worker import Orders, WallClock

KEPT_S = 60 * 86_400.0
_MATTER = "---\nmodel: {model}\nid: id\ninputs: [body]\nparameters: {{max_tokens: 60}}\n---\n"
_TEXT = _MATTER + "Sort this (v{v}): <query>{{{{ body }}}}</query>"
_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label", "quote"],
    "properties": {"label": {"enum": list(LABELS)}, "quote": {"type": "string", "maxLength": 60}},
}


def make_checks(version: int) -> str:
    """Every other version has one rule of a row more; the limit of a batch changes with each."""
    row = [{"rule": "verbatim", "field": "quote", "of": "body"}]
    row += [{"rule": "max_chars", "field": "quote", "limit": 60 + version}] * (version % 2)
    column = {"column": "quote", "min_value": 1, "max_value": 60 + version}
    rule = {"type": "expect_column_value_lengths_to_be_between", "kwargs": column, "severity": "critical"}
    return json.dumps({"row": row, "batch": [rule | {"meta": {"reason": "A quote is short."}}], "max_quarantined": 0.5})


def work(orders: Orders, clock: WallClock) -> dict[str, Any]:
    """A night: from the source, or from where it was, to the gate."""
    with open_house(orders, clock) as house, open_pass(orders, house):
        with house.ledger.reading() as connection:
            offered = find_release(connection, orders.run_id)
        if offered is None:
            prompt = _pin_prompt(orders, house)
            batches = _pin_input(orders, house)
            with closing(Engine(house.settings, house.ledger)) as engine:
                ended = Night(house, engine, prompt, batches, orders.run_id).work()
            house.ledger.write(lambda c: record_batches(c, orders.run_id, list(ended.completed)))
            if ended.why:
                return end(house, orders.run_id, RunState.HALTED, ended.why)
            checked = [_check(batch, prompt, orders, house) for batch in ended.completed]
            compare_step(orders.run_id, 1, ledger=house.ledger, place=house.home, now=time.time())
            if failures := [line for batch in checked for line in batch.batch_failures]:
                return end(house, orders.run_id, RunState.HELD, failures[0])
            if not any(batch.n_accepted for batch in checked):
                return end(house, orders.run_id, RunState.HALTED, "no row was accepted")
            rng = random.Random(orders.run_id)  # noqa: S311 - a trial's dice
            n_reviewers = 2 if orders.sink.startswith("http") else 1
            house.offer_checked(
                checked, prompt, sink=orders.sink, run_id=orders.run_id, now=time.time(), rng=rng,
                n_reviewers=n_reviewers, max_bad_share=0.1, approval_s=house.settings.approval_s,
            )  # fmt: skip
            reach("after-offered")
        return end(house, orders.run_id, RunState.WAITING)


def _pin_prompt(orders: Orders, house: House) -> Prompt:
    with house.ledger.reading() as connection:
        pinned = runs.find_pinned_prompt(connection, orders.run_id, "sort")
    text, checks_file = _TEXT.format(model=MODEL, v=orders.prompt), make_checks(orders.checks)
    if pinned is not None:
        text, checks_file = pinned.text, pinned.checks
    parsed = parse_prompt("sort", text=text, schema=json.dumps(_SCHEMA), checks=checks_file)
    prompt, now = resolve_prompt(parsed, None, endpoint=orders.endpoint), time.time()

    def pin(connection: sa.Connection) -> None:
        runs.pin_prompt(connection, orders.run_id, prompt)
        record_prompt(connection, prompt, now)
        runs.pin_model(connection, orders.run_id, prompt)

    house.ledger.write(pin)
    return prompt


def _pin_input(orders: Orders, house: House) -> list[Batch]:
    with house.ledger.reading() as connection:
        pinned = find_batches(connection, orders.run_id, Batch, step=1)
    if pinned:
        return pinned
    read = list(read_batches(orders.source, id_column="id", inputs=("body",), optional_inputs=(), place=house.home))

    def pin(connection: sa.Connection) -> None:
        runs.pin_source(connection, orders.run_id, orders.source)
        record_batches(connection, orders.run_id, read)

    house.ledger.write(pin)
    return read


def _check(completed: CompletedBatch, prompt: Prompt, orders: Orders, house: House) -> CheckedBatch:
    checked = checks.check_batch(
        completed, read_part(completed.part, house.home), parse_checks(prompt.checks, prompt=prompt.name),
        prompt.checks_hash, Judge(orders.bench), suite_name=prompt.name, docs_dir=house.home / "docs" / prompt.name,
        place=house.home, home=house.home,
    )  # fmt: skip
    key = f"check-{completed.part.digest}-{prompt.checks_hash}-{orders.run_id}"
    house.ledger.write(lambda connection: record_part(connection, key, checked, time.time()))
    house.ledger.write(lambda connection: record_batches(connection, orders.run_id, [checked]))
    return checked


def clear(orders: Orders, clock: WallClock) -> dict[str, Any]:
    """A purge of what is older than two months."""
    with open_house(orders, clock) as house:
        done = purge(house.ledger, house.home, house.home, before=time.time() - KEPT_S, by=getpass.getuser())
        return dict(done.counts)
