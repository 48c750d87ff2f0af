"""What the processes of a year do, as the tasks of a flow do it without Prefect: a night, a sitting, a purge."""

from __future__ import annotations

import getpass
import json
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import sqlalchemy as sa

from overnight import checks
from overnight.approve import find_standing, open_round
from overnight.checks import parse_checks
from overnight.checks.language import find_language
from overnight.complete import Engine, resolve_prompt
from overnight.deliver import deliver_release
from overnight.failpoints import reach
from overnight.failures import ApprovalRefused, OvernightError
from overnight.intake import read_batches
from overnight.ledger import Ledger, runs
from overnight.ledger.approvals import find_approval
from overnight.ledger.attempts import record_prompt
from overnight.ledger.manifests import find_batches, record_batches, record_part
from overnight.ledger.releases import find_release
from overnight.parts import read_part
from overnight.prompts import parse_prompt
from overnight.purge import purge
from overnight.records import Approval, Batch, CheckedBatch, ModelTerms, Prompt, Release, RunState
from overnight.report.brief import gather_brief, write_brief
from overnight.report.compared import compare_step
from tests.conftest import House, make_settings
from tests.honest import find_seeds
from tests.trials.night import Night
from tests.trials.year import LABELS, is_wrong
from tests.trials.year_bench import Judge

if TYPE_CHECKING:
    from tests.trials.year_worker import Orders, WallClock

MODEL = "openai:gpt-fake"
C = 8
READERS = ("Ada", "Bob")
#: What each person takes for a reading: a one-time code serves once.
READING_S, MOST_ROUNDS = 90.0, 20
KEPT_S = 60 * 86_400.0
#: In the middle of what a process does, its clock is set.
_SET_AFTER_S = 0.05

_TEXT = "---\nmodel: {model}\nid: id\ninputs: [body]\nparameters: {{max_tokens: 60}}\n---\nSort this (v{v}): <query>{{{{ body }}}}</query>"
_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["label", "quote"],
    "properties": {"label": {"enum": list(LABELS)}, "quote": {"type": "string", "maxLength": 60}},
}


def warm_up() -> None:
    """What each fork would load anew."""
    find_language("a text that is long enough to be told apart from others " * 5)
    httpx.create_ssl_context(trust_env=False)


def make_checks(version: int) -> str:
    """Every other version has one rule of a row more; the limit of a batch changes with each."""
    row = [{"rule": "verbatim", "field": "quote", "of": "body"}]
    row += [{"rule": "max_chars", "field": "quote", "limit": 60 + version}] * (version % 2)
    column = {"column": "quote", "min_value": 1, "max_value": 60 + version}
    rule = {"type": "expect_column_value_lengths_to_be_between", "kwargs": column, "severity": "critical"}
    return json.dumps({"row": row, "batch": [rule | {"meta": {"reason": "A quote is short."}}], "max_quarantined": 0.5})


@contextmanager
def _open_house(orders: Orders, clock: WallClock) -> Iterator[House]:
    terms = (ModelTerms(MODEL, orders.prices[0], orders.prices[1]),)
    settings = make_settings(
        Path(orders.home), orders.ledger_url, concurrency=C, call_timeout_s=1.0, retry_base_s=0.003, probe_s=0.01,
        outage_s=0.1, approval_s=86_400.0, waits_s=7 * 86_400.0, terms=terms, budget_usd=orders.cap_usd,
        nightly_budget_usd=orders.cap_usd,
    )  # fmt: skip
    with closing(Ledger(settings.ledger_url)) as ledger:
        house = House(settings, ledger)
        if orders.shift_s:
            clock.set_later(_SET_AFTER_S, orders.shift_s)
        yield house


@contextmanager
def _open_pass(orders: Orders, house: House) -> Iterator[None]:
    def begin(connection: sa.Connection) -> int:
        return runs.open_pass(
            connection, run_id=orders.run_id, flow="sort", parameters={"sink": orders.sink},
            flow_run_id=f"{orders.run_id} {orders.at} {orders.failpoint}", deployed=True, now=time.time(),
        )  # fmt: skip

    pass_id = house.ledger.write(begin)
    yield
    house.ledger.write(lambda connection: runs.end_pass(connection, pass_id, time.time()))


def _end(house: House, run_id: str, state: RunState, why: str = "", **more: Any) -> dict[str, Any]:
    house.ledger.write(lambda connection: runs.set_state(connection, run_id, state, why or None))
    return {"state": str(state), "why": why, **more}


def work(orders: Orders, clock: WallClock) -> dict[str, Any]:
    """A night: from the source, or from where it was, to the gate."""
    with _open_house(orders, clock) as house, _open_pass(orders, house):
        with house.ledger.reading() as connection:
            offered = find_release(connection, orders.run_id)
        if offered is None:
            prompt = _pin_prompt(orders, house)
            batches = _pin_input(orders, house)
            with closing(Engine(house.settings, house.ledger)) as engine:
                ended = Night(house, engine, prompt, batches, orders.run_id).work()
            house.ledger.write(lambda c: record_batches(c, orders.run_id, list(ended.completed)))
            if ended.why:
                return _end(house, orders.run_id, RunState.HALTED, ended.why)
            checked = [_check(batch, prompt, orders, house) for batch in ended.completed]
            compare_step(orders.run_id, 1, ledger=house.ledger, home=house.home, now=time.time())
            if failures := [line for batch in checked for line in batch.batch_failures]:
                return _end(house, orders.run_id, RunState.HELD, failures[0])
            if not any(batch.n_accepted for batch in checked):
                return _end(house, orders.run_id, RunState.HALTED, "no row was accepted")
            rng = random.Random(orders.run_id)  # noqa: S311 - a trial's dice
            n_reviewers = 2 if orders.sink.startswith("http") else 1
            house.offer_checked(
                checked, prompt, sink=orders.sink, run_id=orders.run_id, now=time.time(), rng=rng,
                n_reviewers=n_reviewers, max_bad_share=0.1, approval_s=house.settings.approval_s,
            )  # fmt: skip
            reach("after-offered")
        return _end(house, orders.run_id, RunState.WAITING)


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
    read = list(read_batches(orders.source, id_column="id", inputs=("body",), optional_inputs=(), home=house.home))

    def pin(connection: sa.Connection) -> None:
        runs.pin_source(connection, orders.run_id, orders.source)
        record_batches(connection, orders.run_id, read)

    house.ledger.write(pin)
    return read


def _check(completed: Any, prompt: Prompt, orders: Orders, house: House) -> CheckedBatch:
    checked = checks.check_batch(
        completed, read_part(completed.part, house.home), parse_checks(prompt.checks, prompt=prompt.name),
        prompt.checks_hash, Judge(orders.bench), suite_name=prompt.name, docs_dir=house.home / "docs" / prompt.name,
        home=house.home,
    )  # fmt: skip
    key = f"check-{completed.part.digest}-{prompt.checks_hash}-{orders.run_id}"
    house.ledger.write(lambda connection: record_part(connection, key, checked, time.time()))
    house.ledger.write(lambda connection: record_batches(connection, orders.run_id, [checked]))
    return checked


def sit(orders: Orders, clock: WallClock) -> dict[str, Any]:
    """A morning: what waits is read and decided, and what was let out is delivered; the brief is written."""
    with _open_house(orders, clock) as house, _open_pass(orders, house):
        with house.ledger.reading() as connection:
            release = find_release(connection, orders.run_id)
        assert release is not None, orders
        standing = find_standing(house.ledger, orders.run_id, release.sink, now=time.time())
        n_refused = 0 if standing else _try_expired(release, house)
        standing = standing or _review(release, orders, house, clock)
        if not isinstance(standing, Approval):
            said = _end(house, orders.run_id, standing, "as its reviewer said")
        elif not orders.delivers:
            return _end(house, orders.run_id, RunState.WAITING, approved=True)
        else:
            try:
                receipts = deliver_release(standing, ledger=house.ledger, settings=house.settings)
            except OvernightError as error:
                said = _end(house, orders.run_id, RunState.HALTED, str(error))
            else:
                states = [receipt.state for receipt in receipts]
                said = _end(house, orders.run_id, RunState.RELEASED, states=sorted(set(states)), n_rows=len(states))
        if orders.has_brief:
            now = time.time()
            write_brief(gather_brief(orders.run_id, ledger=house.ledger, home=house.home, now=now), house.home)
        return said | {"n_refused": n_refused}


def _try_expired(release: Release, house: House) -> int:
    """An approval whose day is over lets nothing out, whoever tries."""
    with house.ledger.reading() as connection:
        over = find_approval(connection, release_id=release.release_id)
    if over is None:
        return 0
    try:
        deliver_release(over, ledger=house.ledger, settings=house.settings)
    except ApprovalRefused:
        return 1
    raise AssertionError(f"an approval of {release.release_id} that was over let rows out")


def _review(release: Release, orders: Orders, house: House, clock: WallClock) -> Approval | RunState:
    at, said = 0, list[str]()
    while len(said) < MOST_ROUNDS:
        with house.ledger.reading() as connection:
            release = find_release(connection, orders.run_id) or release
        release = open_round(release, ledger=house.ledger, home=house.home, now=time.time())
        clock.set_forward(READING_S)
        wrong = _list_wrong(release, orders, house)
        answers = house.answer(release, orders.decision, reviewer=READERS[at % 2], **dict.fromkeys(wrong, "wrong"))
        _note(house.home, {"run": orders.run_id, "sink": release.sink, "decision": orders.decision, "wrong": wrong})
        decision = house.submit(release, answers)
        if decision.is_final:
            return decision.approval or RunState(decision.outcome)
        said.append(decision.words)
        at += decision.is_for_others
    raise AssertionError(f"the review of {release.release_id} has no end: {said[-3:]}")


def _list_wrong(release: Release, orders: Orders, house: House) -> Mapping[str, str]:
    """The rows that a reader finds wrong, each with the text that it was asked about."""
    seeds = find_seeds(house.ledger, release)
    shown = {item.row_id: str(item.input["body"]) for item in release.items if item.item not in seeds}
    return {row_id: text for row_id, text in shown.items() if is_wrong(orders.prompt, text)}


def _note(home: Path, note: Mapping[str, Any]) -> None:
    """What the reader wrote down beside the screen."""
    with (home / "notes.jsonl").open("a") as file:
        file.write(json.dumps(note) + "\n")


def clear(orders: Orders, clock: WallClock) -> dict[str, Any]:
    """A purge of what is older than two months."""
    with _open_house(orders, clock) as house:
        done = purge(house.ledger, house.home, before=time.time() - KEPT_S, by=getpass.getuser())
        return dict(done.counts)
