"""`overnight replay` and `overnight diff`, as they are typed."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from overnight.complete import Engine, complete_batch
from overnight.ledger.manifests import record_batches
from overnight.ledger.runs import pin_model, pin_prompt
from tests.conftest import RUN, House
from tests.fakes.provider import FakeProvider
from tests.unit.cli.conftest import Cli


def _answer(label: str) -> Any:
    return lambda _body: {"label": label, "quote": "x"}


@pytest.fixture
def night(house: House, fake: FakeProvider) -> House:
    """Two rows, answered red."""
    fake.answer = _answer("red")
    house.begin()
    prompt, batch = house.make_prompt(endpoint=fake.openai_base_url), house.read_batch(["one", "two", ""])
    house.ledger.write(lambda c: (pin_prompt(c, RUN, prompt), pin_model(c, RUN, prompt)))
    with closing(Engine(house.settings, house.ledger)) as engine:
        completed = complete_batch(batch, prompt, run_id=RUN, engine=engine)
    for manifest in (batch, completed):
        house.ledger.write(lambda c, m=manifest: record_batches(c, RUN, [m]))  # type: ignore[misc]
    return house


def _find_key(house: House, text: str) -> str:
    query = f"SELECT lower(hex(request_key)) FROM requests WHERE input LIKE '%{text}%'"  # noqa: S608 - a test's own
    return str(house.fetch(query)[0][0])


def test_a_request_is_named_by_its_row_its_key_or_the_beginning_of_it(
    cli: Cli, night: House, fake: FakeProvider
) -> None:
    key = _find_key(night, "one")
    for name in ("r1", key, key[:8]):
        code, out, err = cli("replay", name, "--json")
        assert (code, err, json.loads(out)["request_key"]) == (0, "", key)
    assert len(fake.calls) == 2 + 3


def test_a_row_that_a_halted_run_left_is_that_of_the_run_before(cli: Cli, night: House) -> None:
    night.begin("night-2", now=2.0)
    batch = night.read_batch(["one", "two", "", "four"], n=2)
    night.ledger.write(lambda c: record_batches(c, "night-2", [batch]))
    code, out, _ = cli("replay", "r1", "--json")
    assert (code, json.loads(out)["request_key"]) == (0, _find_key(night, "one"))
    for row, said in (("r4", "it is pending, and no earlier run"), ("r3", "it was set aside at intake")):
        code, out, err = cli("replay", row)
        assert (code, out, err.count("\n"), f"in run night-2: {said}" in err) == (1, "", 1, True), err


def test_what_differs_is_told_and_a_replay_that_is_no_answer_is_exit_code_1(
    cli: Cli, night: House, fake: FakeProvider
) -> None:
    fake.answer = _answer("blue")
    code, out, _ = cli("replay", "r1", "--times", "2")
    assert code == 0
    assert "label  same 0 of 2\n    then: red\n    now 1, now 2: blue" in out
    fake.answer = _answer("pink")
    code, out, _ = cli("replay", "r1")
    assert (code, "replay 1 failed, schema_invalid" in out) == (1, True)


def test_a_replay_is_told_at_the_width_of_the_terminal(
    cli: Cli, night: House, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    fake.answer = lambda _body: {"label": "blue", "quote": "word " * 12}
    code, out, err = cli("replay", "r1")
    assert (code, err) == (0, "")
    assert 70 < max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    "command", [["diff", RUN, RUN, "--limit"], ["runs", "--limit"], ["outbox", "--limit"], ["read", "-n"],
    ["replay", "r1", "--times"], ["diff", RUN, RUN, "--step"], ["why", "r1", "--step"]]
)  # fmt: skip
def test_a_number_that_is_far_too_large_is_refused_in_words(cli: Cli, night: House, command: list[str]) -> None:
    code, out, err = cli(*command, "99999999999999999999999")
    assert (code, out, "Traceback" in err, "1000000" in err) == (2, "", False, True), err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["r9"], "'r9' is no row of any run"),
        (["r1", "--run", "night-9"], "There is no run night-9."),
        (["r3"], "Row 'r3' was never asked in run night-1: it was set aside at intake."),
        (["0123456789abcdef"], "begins no request key of at least 8 digits"),
        (["r1", "--model", "banana:x"], "is not PROVIDER:NAME"),
        (["r1", "--prompt", "nowhere"], "There is no prompt 'nowhere'"),
    ],
)
def test_what_cannot_be_sent_again_is_refused_in_a_line(
    cli: Cli, night: House, fake: FakeProvider, arguments: list[str], said: str
) -> None:
    code, out, err = cli("replay", *arguments)
    assert (code, out, err.count("\n"), said in err) == (1, "", 1, True), err
    assert len(fake.calls) == 2


def test_a_run_is_compared_as_text_as_json_and_as_a_page(cli: Cli, night: House, tmp_path: Path) -> None:
    code, out, err = cli("diff", RUN, "sort@last", "--html", "page.html")
    assert (code, err) == (0, "")
    assert "2 pairs by input; 0 only in A, 0 only in B" in out
    assert out.endswith(f"The page is {tmp_path / 'page.html'}\n")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert json.loads(cli("diff", RUN, RUN, "--json")[1])["whole"]["n_same"] == 2


def test_a_page_that_cannot_be_written_is_refused_in_a_line(cli: Cli, night: House) -> None:
    code, _, err = cli("diff", RUN, RUN, "--html", "nowhere/page.html")
    assert (code, "nowhere/page.html cannot be written" in err) == (1, True)
