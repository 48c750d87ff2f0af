"""A shadow in what is told of it: what is private for the run whose rows it was given."""

from __future__ import annotations

from contextlib import closing

import pytest

from overnight.complete import Engine, complete_batch
from overnight.complete.recorded import get_recorded
from overnight.complete.shadow import draw_sample
from overnight.ledger.manifests import record_batches
from overnight.ledger.runs import find_private, pin_model, pin_prompt
from overnight.ledger.shadows import open_shadow
from overnight.report.brief.reading import find_rows
from overnight.report.diff import compare
from overnight.report.diff_text import render_diff
from overnight.report.why import explain_row
from tests.conftest import RUN, House
from tests.fakes.provider import FakeProvider

SHADOW = f"{RUN}-shadow"
SECRET, QUOTE = "my number is 5512", "number 5512"


@pytest.fixture
def shadowed(house: House, fake: FakeProvider) -> House:
    """A run whose prompt keeps texts and quotes private, and its shadow, whose prompt declares nothing."""
    fake.answer = lambda _body: {"label": "red", "quote": QUOTE}
    first = house.make_prompt(endpoint=fake.openai_base_url)
    second = house.make_prompt(text="Anew: <query>{{ body }}</query>", endpoint=fake.openai_base_url)
    batch = house.read_batch([SECRET])
    house.begin()
    house.ledger.write(lambda c: (pin_prompt(c, RUN, first), pin_model(c, RUN, first)))
    sample = draw_sample([batch], 9, house.home)
    house.ledger.write(lambda c: open_shadow(c, RUN, flow="sort", prompt=second, sample=sample, parameters={}, now=1.0))
    with closing(Engine(house.settings, house.ledger)) as engine:
        for run_id, prompt, asked in ((RUN, first, batch), (SHADOW, second, sample)):
            completed = complete_batch(asked, prompt, run_id=run_id, engine=engine)
            house.ledger.write(lambda c, r=run_id, m=completed: record_batches(c, r, [m]))  # type: ignore[misc]
    private = "replace(text, 'id: id', 'id: id' || char(10) || 'private: [body, quote]')"
    house.tamper(f"UPDATE run_prompts SET text = {private} WHERE run_id = '{RUN}'")  # noqa: S608 - a test's own
    return house


def test_what_the_run_s_prompt_declares_private_is_hidden_of_its_shadow(shadowed: House) -> None:
    house = shadowed
    with house.ledger.reading() as connection:
        assert find_private(connection, SHADOW) == {1: ("body", "quote")}
        [(key,)] = connection.exec_driver_sql(
            "SELECT lower(hex(request_key)) FROM attempts WHERE run_id = ?", (SHADOW,)
        ).fetchall()
        assert get_recorded(connection, key).private == {"body", "quote"}
    rows, _ = find_rows(SHADOW, ledger=house.ledger, place=house.home)
    told = [str(row) for row in rows]
    for start, run_id in (("r1", SHADOW), (key, SHADOW)):
        told.append(str(explain_row(start, run_id=run_id, ledger=house.ledger, place=house.home)))
    diff = compare(SHADOW, SHADOW, ledger=house.ledger, place=house.home)
    told.append(render_diff(diff))
    assert len(rows) == 1
    assert not any("5512" in text for text in told)
    by_hash = compare(_find_hash(house), SHADOW, ledger=house.ledger, place=house.home)
    assert diff.a.private == by_hash.a.private == {"body", "quote"}


def _find_hash(house: House) -> str:
    """The hash of the shadow's prompt."""
    query = f"SELECT lower(hex(prompt_hash)) FROM run_prompts WHERE run_id = '{SHADOW}'"  # noqa: S608 - a test's own
    return str(house.fetch(query)[0][0])
