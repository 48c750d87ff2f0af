from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from overnight.complete import Engine, complete_batch
from overnight.deliver import deliver_release
from overnight.ledger.manifests import record_batches
from overnight.ledger.runs import pin_prompt, set_state
from overnight.records import RunState
from tests.conftest import RUN, House
from tests.fakes.provider import FakeProvider
from tests.unit.cli.conftest import Cli


def _end(house: House, n_rows: int = 6) -> None:
    release = house.offer(n_rows)
    deliver_release(house.approve(release), ledger=house.ledger, settings=house.settings)
    house.ledger.write(lambda c: set_state(c, RUN, RunState.RELEASED))


def test_the_same_rows_are_shown_whoever_asks_again(cli: Cli, house: House) -> None:
    _end(house)
    code, out, _ = cli("read", "-n", "2", "--json")
    sample = json.loads(out)
    assert (code, len(sample), {row["why"] for row in sample}) == (0, 2, {"random"})
    assert sample[0]["trace"]["row_id"] == sample[0]["row_id"]
    again = json.loads(cli("read", "-n", "2", "--json")[1])
    assert [row["row_id"] for row in again] == [row["row_id"] for row in sample]


def test_answers_that_do_not_fit_are_refused_in_one_line(cli: Cli, house: House, tmp_path: Path) -> None:
    _end(house, 2)
    answers = tmp_path / "answers.json"
    for given, why in (
        ({"r1": {"verdict": "wrong"}}, "needs a note"),
        ({"r9": {"verdict": "correct"}}, "Row 'r9' is not among the 2 rows"),
        ({"r1": {"verdict": "fine"}}, "do not fit at r1.verdict"),
        ([], "do not fit at the answers"),
    ):
        answers.write_text(json.dumps(given))
        code, _, err = cli("read", "--answers", str(answers))
        assert (code, len(err.splitlines())) == (1, 1)
        assert why in err
    assert house.fetch("SELECT * FROM readings") == []


def test_private_values_are_shown_to_who_asks_for_them(cli: Cli, house: House) -> None:
    _end(house, 2)
    add = "replace(text, 'id: id', 'id: id' || char(10) || 'private: [body, quote]')"
    prompt = house.make_prompt()
    house.ledger.write(lambda c: pin_prompt(c, RUN, prompt))
    house.tamper(f"UPDATE run_prompts SET text = {add}")  # noqa: S608 - a test's own
    hidden, shown = (cli("read", "--json", *more)[1] for more in ((), ("--show-private",)))
    assert "text 1" not in hidden
    assert {row["trace"]["input"]["body"] for row in json.loads(shown)} == {"text 1", "text 2"}
    assert json.loads(hidden)[0]["trace"]["input"]["body"] == "[private: body]"


def test_what_is_recorded_is_printed_as_json(cli: Cli, house: House, fake: FakeProvider, tmp_path: Path) -> None:
    house.begin()
    prompt = house.make_prompt(endpoint=fake.openai_base_url)
    with closing(Engine(house.settings, house.ledger)) as engine:
        completed = complete_batch(house.read_batch(["one"]), prompt, run_id=RUN, engine=engine)
    house.ledger.write(lambda c: (record_batches(c, RUN, [completed]), set_state(c, RUN, RunState.HELD)))
    (tmp_path / "answers.json").write_text(json.dumps({"r1": {"verdict": "wrong", "note": "it is blue"}}))
    code, out, err = cli("read", "--answers", "answers.json", "--reader", "Ada", "--json")
    [reading] = json.loads(out)
    assert (code, err) == (0, "1 readings of run night-1 are recorded.\n")
    assert [reading[name] for name in ("row_id", "verdict", "note", "reader")] == ["r1", "wrong", "it is blue", "Ada"]


def test_rows_under_review_are_not_shown(cli: Cli, house: House) -> None:
    house.offer(2)
    code, out, err = cli("read", RUN)
    assert (code, out) == (1, "")
    assert "The review of run night-1 is open" in err


def test_without_a_run_that_has_ended_there_is_nothing_to_read(cli: Cli, house: House) -> None:
    house.begin()
    assert cli("read")[2] == "overnight: No run has ended yet. `overnight runs` lists the runs.\n"


def test_where_nobody_can_be_asked_it_says_how_to_answer(cli: Cli, house: House) -> None:
    _end(house, 2)
    assert "give --answers FILE" in cli("read")[2]
