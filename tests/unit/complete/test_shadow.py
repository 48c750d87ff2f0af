"""The bounds of a shadow run: which rows it asks, what it may cost, how long it may take, what is refused before."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from overnight.complete.shadow import ask_sample, draw_sample, load_shadow
from overnight.failures import CallFailed, OvernightError
from overnight.ledger.runs import open_pass
from overnight.ledger.spend import find_spend, run_scope
from overnight.parts import read_part
from overnight.records import Batch, CompletedBatch, ModelTerms
from tests.conftest import House
from tests.fakes.provider import Scripted
from tests.unit.complete.conftest import Desk

_TERMS = (ModelTerms("openai:gpt-fake", 1.0, 1.0),)


def _ids(sample: Batch, house: House) -> list[str]:
    ids: list[str] = read_part(sample.part, house.home)["row_id"].to_pylist()
    return ids


def test_the_sample_is_the_same_whatever_the_rows_order_and_number(house: House) -> None:
    texts = [f"text {i}" for i in range(40)]
    sample = draw_sample([house.read_batch(texts)], 5, house.home)
    again = draw_sample([house.read_batch(texts[:20]), house.read_batch(texts[20:], n=2)], 5, house.home)
    inputs = [read_part(s.part, house.home)["input"].to_pylist() for s in (sample, again)]
    assert inputs[0] == inputs[1]
    assert (sample.n_rows, sample.n_quarantined, sample.part.n_rows) == (5, 0, 5)


def test_a_sample_has_no_row_that_was_set_aside_at_intake(house: House) -> None:
    assert sorted(_ids(draw_sample([house.read_batch(["one", "", "two"])], 9, house.home), house)) == ["r1", "r3"]
    with pytest.raises(OvernightError, match="There is no row that a shadow run could ask"):
        draw_sample([house.read_batch([""])], 9, house.home)


def _ask(desk: Desk, *, budget_usd: float = 1.0, time_s: float = 60.0) -> tuple[CompletedBatch, CallFailed | None]:
    house = desk.house
    house.ledger.write(
        lambda c: open_pass(
            c, run_id="night-1-shadow", flow="sort", parameters={}, flow_run_id="s", deployed=False, now=1.0,
            kind="shadow", of_run="night-1",
        )
    )  # fmt: skip
    sample = draw_sample([house.read_batch(["one red", "two red"])], 9, house.home)
    return ask_sample(
        sample, desk.make_prompt(), run_id="night-1-shadow", budget_usd=budget_usd, time_s=time_s, engine=desk.engine
    )


def test_its_money_is_under_a_cap_of_its_own(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(terms=_TERMS)
    completed, halted = _ask(desk)
    assert (completed.n_accepted, halted) == (2, None)
    with desk.house.ledger.reading() as connection:
        spent = find_spend(connection, [run_scope("night-1"), run_scope("night-1-shadow")])
    assert list(spent) == [run_scope("night-1-shadow")]


def test_a_call_that_does_not_fit_under_it_halts_the_shadow(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(terms=_TERMS)
    completed, halted = _ask(desk, budget_usd=0.000001)
    assert (completed.n_pending, desk.fake.calls) == (2, [])
    assert "of run night-1-shadow" in str(halted)
    assert str(halted).endswith("Raise --shadow-budget.")


def test_when_its_time_is_over_nobody_is_asked_any_more(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(terms=_TERMS, retry_base_s=30.0)
    desk.fake.answer = lambda _body: Scripted(status=503)
    started = time.monotonic()
    completed, halted = _ask(desk, time_s=0.2)
    assert (completed.n_pending, time.monotonic() - started < 10) == (2, True)
    assert "It took longer than 0.2 s." in str(halted)


@pytest.fixture
def second(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes the prompt that shadows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-fake-0123456789abcdef")

    def write(inputs: str = "[body]", **front: Any) -> None:
        folder = tmp_path / "prompts" / "second"
        folder.mkdir(parents=True)
        more = "".join(f"{name}: {value}\n" for name, value in front.items())
        text = f"---\nmodel: openai:gpt-fake\ninputs: {inputs}\n{more}---\nAnew: {{{{ body }}}}"
        (folder / "prompt.md").write_text(text)
        (folder / "output.schema.json").write_text(house.make_prompt().schema)
        (folder / "checks.json").write_text(orjson.dumps({"row": [], "batch": []}).decode())

    return write


def test_a_shadow_has_its_own_model_or_the_one_that_is_named(house: House, second: Callable[..., None]) -> None:
    second()
    terms = (*_TERMS, ModelTerms("openai:gpt-other", 1.0, 1.0))
    settings = replace(house.settings, terms=terms)
    assert load_shadow("second", house.make_prompt(), settings).model == "openai:gpt-fake"
    assert load_shadow("second@openai:gpt-other", house.make_prompt(), settings).model == "openai:gpt-other"


@pytest.mark.parametrize(
    ("named", "inputs", "said"),
    [
        ("nowhere", "[body]", "There is no prompt 'nowhere' in prompts/"),
        ("second", "[body, tone]", "Prompt second is to shadow sort and reads tone, which sort does not"),
        ("second@openai:gpt-none", "[body]", "no price is known for openai:gpt-none"),
        ("second@banana:x", "[body]", "is not PROVIDER:NAME"),
    ],
)
def test_what_cannot_shadow_is_refused_in_a_line(
    house: House, second: Callable[..., None], named: str, inputs: str, said: str
) -> None:
    second(inputs)
    with pytest.raises(OvernightError, match=said) as caught:
        load_shadow(named, house.make_prompt(), replace(house.settings, terms=_TERMS))
    assert "\n" not in str(caught.value)
