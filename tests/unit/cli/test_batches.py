"""`overnight batches`, `runs` and `continue`, as somebody meets them whose rows are with a provider."""

from __future__ import annotations

import io
import json
import sys
import time
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from overnight.ledger.attempts import Opening
from overnight.ledger.bodies import make_body
from overnight.ledger.provider_batch_packing import begin_batch, pack
from overnight.ledger.provider_batch_progress import BatchProgress, record_awaited
from overnight.ledger.provider_batches import get_provider_batch, list_batches
from overnight.ledger.runs import pin_model, pin_prompt, set_state
from overnight.records import BatchState, ProviderBatch, RunState
from overnight.report.batches import describe_age, describe_progress
from tests.conftest import RUN, House
from tests.fakes.batches import Trouble
from tests.fakes.provider import FakeProvider
from tests.fakes.with_provider import move_batch, record_batch
from tests.unit.cli.conftest import Cli

KEY = "sk-fake-0123456789abcdef"
HOUR_S = 3600.0
WORST_USD = 0.25


def _find(house: House, batch_id: str) -> ProviderBatch:
    with house.ledger.reading() as connection:
        return get_provider_batch(connection, batch_id)


def _settled_by(house: House, batch_id: str) -> str | None:
    [(by,)] = house.fetch(f"SELECT settled_by FROM provider_batches WHERE batch_id = '{batch_id}'")  # noqa: S608
    return None if by is None else str(by)


def _one_line(err: str) -> str:
    assert err.startswith("overnight: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture
def batched(house: House) -> House:
    """A run whose rows are with a provider."""
    house.begin()
    house.ledger.write(lambda c: set_state(c, RUN, RunState.BATCHED, "With a provider: 20,000 requests."))
    house.tamper("UPDATE passes SET ended_at = 2.0")
    return house


@pytest.fixture
def doubtful(batched: House, fake: FakeProvider) -> str:
    """A provider batch of two requests of which nobody can tell whether it was received."""
    prompt, batch_id, now = batched.make_prompt(), "00000000000000aa", time.time()
    openings = [Opening(d * 64, prompt.prompt_hash, "{}", make_body(b"{}"), RUN, now, WORST_USD) for d in "12"]

    worker = batched.worker

    def fill(connection: sa.Connection) -> None:
        whose: dict[str, Any] = {"run_id": RUN, "model": "openai:gpt-fake", "endpoint": fake.openai_base_url}
        packed = begin_batch(connection, batch_id=batch_id, packed_by=worker, now=now, **whose)
        assert len(pack(packed, connection, openings)) == len(openings)

    batched.ledger.write(fill)
    facts = {"submitting_at": now - HOUR_S, "reason": "Two of its size are listed."}
    move_batch(batched.ledger, batch_id, BatchState.IN_DOUBT, **facts)
    return batch_id


AtProvider = tuple[House, FakeProvider, str]


@pytest.fixture
def at_provider(batched: House, fake: FakeProvider, doubtful: str) -> AtProvider:
    return batched, fake, doubtful


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (BatchProgress(2, 20_000, 12_599, 0.0, 0, ()), "62 % of 20,000 requests, 2 provider batches, 3 h 10 min"),
        (BatchProgress(1, 1, 0, None, 0, ()), "0 % of 1 request, 1 provider batch"),
        (BatchProgress(1, 0, 0, 11_400.0, 0, ()), "0 % of 0 requests, 1 provider batch, 0 min"),
        (
            BatchProgress(3, 1000, 999, 11_280.0, 1, ()),
            "1 PROVIDER BATCH IN DOUBT (`overnight batches`); 99 % of 1,000 requests, 3 provider batches, 2 min",
        ),
    ],
)
def test_progress_in_words(progress: BatchProgress, words: str) -> None:
    assert describe_progress(progress, 11_400.0) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 min"), (59, "0 min"), (3599, "59 min"), (3600, "1 h 0 min"), (86_399, "23 h 59 min"), (93_600, "1 d 2 h")],
)
def test_an_age_has_its_two_largest_units(seconds: float, words: str) -> None:
    assert describe_age(seconds) == words


def test_runs_say_how_far_a_batched_one_is(cli: Cli, batched: House) -> None:
    since = time.time() - 3 * HOUR_S - 600
    for n_done in (10_000, 2400):
        record_batch(batched.ledger, RUN, n_items=10_000, n_done=n_done, submitting_at=since)
    record_batch(batched.ledger, RUN, BatchState.ENDED, n_items=5, n_done=5)
    _, out, _ = cli("runs")
    assert out.splitlines()[0].split()[:2] == [RUN, "batched"]
    assert "    62 % of 20,000 requests, 2 provider batches, 3 h 10 min" in out.splitlines()
    [run] = json.loads(cli("runs", "--json")[1])
    assert (run["batches"]["n_batches"], run["batches"]["n_done"], run["batches"]["n_in_doubt"]) == (2, 12_400, 0)
    move_batch(batched.ledger, _newest(batched), BatchState.IN_DOUBT)
    assert "1 PROVIDER BATCH IN DOUBT" in cli("runs")[1]


def _newest(house: House) -> str:
    with house.ledger.reading() as connection:
        return list_batches(connection)[0].batch_id


def test_runs_without_provider_batches_say_nothing_of_them(cli: Cli, house: House) -> None:
    house.begin()
    assert len(cli("runs")[1].splitlines()) == 1
    assert json.loads(cli("runs", "--json")[1])[0]["batches"] is None


def test_without_provider_batches_the_list_says_so(cli: Cli, batched: House) -> None:
    assert cli("batches")[1].startswith("There are no provider batches.")
    assert json.loads(cli("batches", "--json")[1]) == []
    assert "There is no run nothing." in _one_line(cli("batches", "nothing")[2])


def test_provider_batches_are_listed_with_what_is_known_of_them(cli: Cli, batched: House) -> None:
    now = time.time()
    batched.begin("night-2")
    sent = record_batch(
        batched.ledger, RUN, provider_id="batch_1", status="in_progress", n_items=1000, n_done=10,
        submitted_at=now - HOUR_S - 120, expires_at=now + 23 * HOUR_S,
    )  # fmt: skip
    doubtful = record_batch(batched.ledger, "night-2", BatchState.IN_DOUBT, reason="Nobody answered.")
    code, out, err = cli("batches")
    assert (code, err) == (0, "")
    assert f"{sent}  submitted  (in_progress) run {RUN}, openai:gpt-fake batch_1: 10 of 1,000 done, 1 h 2 min" in out
    assert ", expires 20" in out
    assert f"{doubtful}  IN DOUBT" in out
    assert "    Nobody answered.\n" in out
    assert "of 4 requests made about 20" in out
    assert f", with the metadata overnight: {doubtful}. It is there: `overnight batches --sent {doubtful}=ID`" in out
    assert f"; it is not: `overnight batches --not-sent {doubtful}`." in out
    assert doubtful not in cli("batches", RUN)[1]
    [listed] = json.loads(cli("batches", RUN, "--json")[1])
    assert (listed["batch_id"], listed["state"], listed["provider_id"]) == (sent, "submitted", "batch_1")
    assert listed["age_s"] == pytest.approx(HOUR_S + 120, abs=60)
    assert len(cli("batches", "--limit", "1", "--json")[1].splitlines()) == 1


def test_what_a_person_found_at_the_provider_is_recorded_and_who_found_it(
    cli: Cli, batched: House, fake: FakeProvider, doubtful: str
) -> None:
    [theirs] = fake.batches.add_others("openai", 1, owner=KEY, n_items=2)
    fake.batches.ends_after = None
    code, _, err = cli("batches", "--sent", f"{doubtful}={theirs.provider_id}", "--by", "Ada")
    assert (code, err.startswith(f"Recorded: the provider has {doubtful} as {theirs.provider_id}")) == (0, True)
    found = _find(batched, doubtful)
    assert (found.state, found.provider_id, found.reason) == (BatchState.SUBMITTED, theirs.provider_id, None)
    assert _settled_by(batched, doubtful) == "Ada"
    assert [call.path.split("/")[0] for call in fake.calls] == ["GET "]
    # What is settled is not in doubt any more.
    for again in (("--sent", f"{doubtful}={theirs.provider_id}"), ("--not-sent", doubtful, "--yes")):
        code, _, err = cli("batches", *again)
        assert (code, "is submitted: there is nothing to settle" in _one_line(err)) == (1, True)


def test_a_doubt_at_a_provider_that_lists_nothing_of_ours_is_known_by_time_and_size(cli: Cli, batched: House) -> None:
    record_batch(batched.ledger, RUN, BatchState.IN_DOUBT, model="anthropic:claude-fake", n_items=1)
    assert "list of batches for one of 1 request made about 20" in (out := cli("batches")[1])
    assert "metadata" not in out


def test_batches_that_were_never_sent_are_counted_and_shown_when_they_are_asked_for(cli: Cli, batched: House) -> None:
    unsent = record_batch(batched.ledger, RUN, BatchState.UNSENT, reason="The key is wrong.")
    record_batch(batched.ledger, RUN, BatchState.UNSENT, n_items=0)
    assert cli("batches")[1].splitlines() == [
        "There are no provider batches that were sent.",
        "1 provider batch that was never sent: `overnight batches --all`.",
    ]
    sent = record_batch(batched.ledger, RUN)
    code, out, err = cli("batches", RUN, "--json")
    assert [one["batch_id"] for one in json.loads(out)] == [sent]
    assert (code, err) == (0, f"1 provider batch that was never sent: `overnight batches {RUN} --all`.\n")
    code, out, err = cli("batches", "--all")
    assert [line.split()[0] for line in out.splitlines() if f"run {RUN}" in line] == [sent, unsent]
    assert "    The key is wrong.\n" in out
    assert "never sent" not in out + err


def test_a_run_whose_rows_are_in_the_batches_of_another_is_told_of_that_one(cli: Cli, batched: House) -> None:
    record_batch(batched.ledger, RUN)
    batched.begin("night-2")
    assert cli("batches", "night-2")[1] == "Run night-2 has no provider batches of its own.\n"
    batched.ledger.write(lambda c: record_awaited(c, "night-2", [_newest(batched)]))
    assert cli("batches", "night-2")[1].splitlines() == [
        "Run night-2 has no provider batches of its own.",
        f"Rows of run night-2 are in 1 provider batch of run {RUN}: `overnight batches {RUN}`.",
    ]
    assert "Rows of run" not in cli("batches", RUN)[1]


def test_what_was_settled_is_one_object_as_json(cli: Cli, at_provider: AtProvider) -> None:
    _, fake, doubtful = at_provider
    [theirs] = fake.batches.add_others("openai", 1, owner=KEY, n_items=2)
    fake.batches.ends_after = None
    code, out, _ = cli("batches", "--sent", f"{doubtful}={theirs.provider_id}", "--json")
    assert (code, out.count("\n")) == (0, 1)
    [settled] = json.loads(out).pop("settled")
    assert (settled["batch_id"], settled["state"], settled["provider_id"]) == (
        doubtful, "submitted", theirs.provider_id,
    )  # fmt: skip


def test_what_was_released_and_looked_at_is_one_object_as_json(cli: Cli, batched: House, doubtful: str) -> None:
    code, out, _ = cli("batches", "--not-sent", doubtful, "--yes", "--follow", "--all", "--json")
    said = json.loads(out)
    assert (code, [one["state"] for one in said["settled"]]) == (0, ["unsent"])
    assert [one["batch_id"] for one in said["batches"]] == [doubtful]


@pytest.mark.parametrize(
    ("n_items", "given", "why"),
    [
        (2, "{batch}=batch_nowhere", "does not show a batch batch_nowhere"),
        (3, "{batch}={theirs}", "has 2 requests, and"),
        (2, "{batch}", "Give it as BATCH=PROVIDER_ID"),
        (2, "={theirs}", "Give it as BATCH=PROVIDER_ID"),
        (2, "nothing={theirs}", "There is no provider batch nothing"),
    ],
)
def test_what_cannot_be_the_batch_is_refused_in_one_line(
    cli: Cli, at_provider: AtProvider, n_items: int, given: str, why: str
) -> None:
    batched, fake, doubtful = at_provider
    [theirs] = fake.batches.add_others("openai", 1, owner=KEY, n_items=n_items)
    code, out, err = cli("batches", "--sent", given.format(batch=doubtful, theirs=theirs.provider_id))
    assert (code, out) == (1, "")
    assert why in _one_line(err)
    assert _find(batched, doubtful).state is BatchState.IN_DOUBT


def test_what_the_provider_never_had_is_free_again_once_somebody_is_sure(
    cli: Cli, batched: House, monkeypatch: pytest.MonkeyPatch, doubtful: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    said = "are paid for twice: up to 0.5000 USD more"
    code, out, err = cli("batches", "--not-sent", doubtful)
    assert (code, out) == (1, "")
    assert said in err
    assert _find(batched, doubtful).state is BatchState.IN_DOUBT
    code, out, err = cli("batches", "--not-sent", doubtful, "--yes", "--by", "Ada")
    assert (code, out) == (0, "")
    assert said in err
    assert f"Recorded: 2 requests are free. `overnight continue {RUN}` asks them anew." in err
    found = _find(batched, doubtful)
    assert (found.state, found.reason) == (BatchState.UNSENT, "Ada looked at the provider, which does not have it.")
    assert _settled_by(batched, doubtful) == "Ada"
    assert batched.fetch("SELECT DISTINCT outcome FROM attempts") == [("unsent",)]
    assert batched.fetch("SELECT count(*) FROM claims") == [(0,)]


def test_a_batch_that_a_live_process_is_sending_is_not_settled(cli: Cli, batched: House) -> None:
    sending = record_batch(batched.ledger, RUN, BatchState.SUBMITTING)
    for given in (("--sent", f"{sending}=batch_1"), ("--not-sent", sending, "--yes")):
        code, _, err = cli("batches", *given)
        assert (code, "is being sent by a process that lives" in _one_line(err)) == (1, True)
    assert _find(batched, sending).state is BatchState.SUBMITTING


@pytest.mark.parametrize("state", [BatchState.PACKING, BatchState.SUBMITTED, BatchState.ENDED, BatchState.UNSENT])
def test_only_a_doubt_is_settled(cli: Cli, batched: House, state: BatchState) -> None:
    batch_id = record_batch(batched.ledger, RUN, state)
    code, _, err = cli("batches", "--not-sent", batch_id, "--yes")
    assert (code, f"is {state}: there is nothing to settle" in _one_line(err)) == (1, True)
    assert _find(batched, batch_id).state is state


def test_following_says_what_came_and_which_run_can_go_on(
    cli: Cli, batched: House, fake: FakeProvider, doubtful: str
) -> None:
    [theirs] = fake.batches.add_others("openai", 1, owner=KEY, n_items=2)
    fake.batches.ends_after = None
    cli("batches", "--sent", f"{doubtful}={theirs.provider_id}")
    code, out, err = cli("batches", "--follow")
    assert (code, err) == (0, "")
    assert out.startswith("Looked at the providers: 0 provider batches ended, 1 open, 0 in doubt.\n")
    assert "can go on" not in out
    fake.batches.end()
    code, out, err = cli("batches", "--follow")
    assert (code, err) == (0, "")
    assert out.startswith("Looked at the providers: 1 provider batch ended, 0 open, 0 in doubt.\n")
    assert out.endswith(f"Run {RUN} can go on: `overnight continue {RUN}`.\n")
    assert f"{doubtful}  ended" in out


def test_a_provider_that_does_not_answer_is_a_line_and_exit_code_1(
    cli: Cli, batched: House, fake: FakeProvider
) -> None:
    away = record_batch(batched.ledger, RUN, provider_id="batch_1")
    code, out, err = cli("batches", "--follow", "--json")
    assert (code, [one["batch_id"] for one in json.loads(out)]) == (1, [away])
    assert err.startswith(f"overnight: Provider batch {away} of run {RUN}: ")


def test_all_that_is_in_doubt_is_counted_and_what_is_so_from_now_on(
    cli: Cli, batched: House, fake: FakeProvider, doubtful: str
) -> None:
    fake.batches.troubles.append(Trouble("list", status=403, n=100))
    lost, submitting_at = "openai:gpt-fake may have it or not: the connection was reset.", time.time() - HOUR_S
    endpoint = fake.openai_base_url
    record_batch(
        batched.ledger, RUN, BatchState.SUBMITTING, reason=lost, endpoint=endpoint, submitting_at=submitting_at
    )
    code, out, _ = cli("batches", "--follow")
    assert out.startswith(
        "Looked at the providers: 0 provider batches ended, 0 open, 2 in doubt (1 of them from now on)."
    )
    assert f"    {lost} It was looked for: the list of batches is not shown, so nobody can tell (" in out
    assert "run again" not in out
    assert code == 0
    # What waits for a person keeps no run from going on.
    assert f"Run {RUN} can go on: `overnight continue {RUN}`." in out
    assert "0 open, 2 in doubt.\n" in cli("batches", "--follow")[1]


@pytest.mark.parametrize(("left_s", "when"), [(-60.0, "past"), (60.0, "near"), (HOUR_S, None)])
def test_following_says_which_run_has_no_time_left(cli: Cli, batched: House, left_s: float, when: str | None) -> None:
    away = record_batch(batched.ledger, RUN, provider_id="batch_1")
    batched.tamper("UPDATE runs SET by_at = :at", at=time.time() + left_s)
    out = cli("batches", "--follow")[1]
    line = f"Run {RUN} is {when} its deadline: `overnight continue {RUN}`.\n"
    assert out.endswith(line) if when else "deadline" not in out
    # Once they were asked to stop, it is for the provider to do so.
    move_batch(batched.ledger, away, BatchState.SUBMITTED, canceled_at=time.time())
    assert "deadline" not in cli("batches", "--follow")[1]


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (RunState.WAITING, "is waiting: it waits for a person: `overnight review night-1`."),
        (RunState.RUNNING, "is running: a process works on it"),
        (RunState.RELEASED, "is released: there is nothing to go on with"),
        (RunState.REJECTED, "is rejected: there is nothing to go on with"),
        (RunState.HELD, "is held: `overnight report night-1` says why"),
    ],
)
def test_a_run_that_nothing_follows_on_is_not_continued(cli: Cli, batched: House, state: RunState, says: str) -> None:
    batched.ledger.write(lambda c: set_state(c, RUN, state))
    code, out, err = cli("continue", RUN)
    assert (code, out) == (1, "")
    assert says in _one_line(err)


def test_a_run_beside_which_a_process_waits_is_not_continued_by_another(cli: Cli, batched: House) -> None:
    with batched.ledger.working(60.0) as worker:
        batched.tamper(f"UPDATE passes SET ended_at = NULL, worker_id = {worker.worker_id:d}")  # noqa: S608 - a number
        code, _, err = cli("continue", RUN)
        assert (code, "a process waits beside it" in _one_line(err)) == (1, True)


def test_a_run_that_is_not_there_is_not_continued(cli: Cli, batched: House) -> None:
    code, _, err = cli("continue", "nothing")
    assert code == 1
    assert "There is no run nothing." in _one_line(err)
    assert "nothing was recorded of it yet and nothing was asked: run its flow again" in err


def _read_terms(house: House) -> tuple[Any, ...]:
    [found] = house.fetch("SELECT mode, by_at, budget_usd FROM runs")
    return found


@pytest.mark.parametrize("deployed", [True, False])
def test_what_is_said_to_continue_is_pinned_with_the_run(cli: Cli, batched: House, *, deployed: bool) -> None:
    batched.tamper("UPDATE runs SET mode = 'online', by_at = 1.0, budget_usd = 1.0")
    batched.tamper("UPDATE passes SET deployed = :deployed", deployed=deployed)
    # Its flow is not there: it is pinned before anybody goes on, who may be a worker.
    assert cli("continue", RUN, "--budget", "0")[0] == 1
    assert _read_terms(batched) == ("online", 1.0, 0.0)
    before = time.time()
    assert cli("continue", RUN, "--mode", "batch", "--by", "06:00")[0] == 1
    mode, by_at, budget_usd = _read_terms(batched)
    assert (mode, budget_usd) == ("batch", 0.0)
    assert before < by_at < before + 25 * HOUR_S


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--mode", "online", "--by", "06:00"), "--by 06:00 is for batches"),
        (("--mode", "batch"), "local:smollm2-135m has no batches"),
    ],
)
def test_what_a_run_cannot_do_is_refused_before_anything_is_pinned(
    cli: Cli, batched: House, arguments: tuple[str, ...], says: str
) -> None:
    prompt = replace(batched.make_prompt(), model="local:smollm2-135m", endpoint="sha256:00")
    batched.ledger.write(lambda c: (pin_prompt(c, RUN, prompt), pin_model(c, RUN, prompt)))
    code, _, err = cli("continue", RUN, *arguments)
    assert (code, says in _one_line(err)) == (1, True)
    assert _read_terms(batched) == (None, None, None)


def test_a_run_that_asks_elsewhere_than_the_environment_says_so(
    cli: Cli, batched: House, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = replace(batched.make_prompt(), endpoint=fake.openai_base_url)
    batched.ledger.write(lambda c: (pin_prompt(c, RUN, prompt), pin_model(c, RUN, prompt)))
    assert "This run asks" not in cli("continue", RUN)[2]
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    line = (
        f"This run asks {fake.openai_base_url}, as when it began; OPENAI_BASE_URL is another now: begin a new run to"
        " use it.\n"
    )
    assert cli("continue", RUN)[2].startswith(line)


def test_a_budget_of_the_environment_that_takes_the_place_of_the_first_is_told(
    cli: Cli, batched: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    batched.tamper("UPDATE runs SET budget_usd = 0.3")
    monkeypatch.setenv("OVERNIGHT_BUDGET_USD", "100")
    line = f"Run {RUN} may cost 100 USD from now on, as OVERNIGHT_BUDGET_USD says; before it was 0.3 USD."
    assert line in cli("continue", RUN)[2]
    assert "from now on" not in cli("continue", RUN, "--budget", "0.5")[2]


def test_a_batched_run_whose_process_is_gone_says_how_it_goes_on(cli: Cli, batched: House) -> None:
    with batched.ledger.working(60.0) as worker:
        batched.tamper(f"UPDATE passes SET ended_at = NULL, worker_id = {worker.worker_id:d}")  # noqa: S608 - a number
    assert "its rows stay with the provider: `overnight continue night-1`" in cli("runs")[1]


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (("--mode", "batch", "--model", "local:smollm2-135m"), (1, "local:smollm2-135m has no batches")),
        (("--mode", "online", "--by", "06:00"), (1, "--by 06:00 is for batches, and --mode online")),
        (("--mode", "later"), (2, "'later' is not one of 'online', 'batch'")),
        (("--by", "6:00"), (2, "'6:00' is no time of a day")),
        (("--by", "24:00"), (2, "'24:00' is no time of a day")),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_what_contradicts_itself_is_refused_before_anything_is_started(
    cli: Cli, house: House, command: str, arguments: tuple[str, ...], refused: tuple[int, str]
) -> None:
    code, says = refused
    flows = (house.home.parent / "flows").resolve()
    flows.mkdir(exist_ok=True)
    (flows / "sort.py").write_text("from tasks import nightly_flow\n@nightly_flow(name='sort')\ndef sort(): ...\n")
    found, out, err = cli(command, "sort", *arguments)
    assert (found, out) == (code, "")
    assert says in err
    assert house.fetch("SELECT count(*) FROM runs") == [(0,)]


@pytest.fixture(autouse=True)
def _leave_no_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `run --mode` sets for its process ends with the test."""
    for name in ("OVERNIGHT_MODE", "OVERNIGHT_BY", "OVERNIGHT_BUDGET_USD", "OVERNIGHT_RUN_ID"):
        monkeypatch.setenv(name, "")
