"""Seeds that are real: what was answered to the same input before, and called wrong by a reader."""

from __future__ import annotations

import random
from typing import Any

from overnight.approve.seeds import find_known, take_known
from overnight.keys import canonical_json, digest_output, request_key
from overnight.ledger.attempts import Opening, open_attempts
from overnight.ledger.bodies import make_body
from overnight.ledger.completions import Completion, accept
from overnight.ledger.draws import SEED, find_draw
from overnight.ledger.readings import Reading, WrongAnswer, find_wrong_answers, record_readings
from overnight.records import Answered, Prompt
from tests.conftest import RUN, House

_SCHEMA = {"properties": {"label": {}, "quote": {}}}


def _row(text: str, label: str = "red") -> Answered:
    return Answered("r1", {"body": text}, {"quote": text, "label": label})


def _wrong(text: str, **output: Any) -> WrongAnswer:
    given, answer = canonical_json({"body": text}).decode(), canonical_json(output).decode()
    return WrongAnswer(given, answer, "Ada", 1.0)


def test_a_row_that_says_something_else_now_lends_itself_to_the_wrong_answer_of_before() -> None:
    rows = [_row("a car"), _row("a bus"), _row("a tram")]
    wrong = [_wrong("a bus", label="blue", quote="a bus"), _wrong("a boat", label="blue", quote="a boat")]
    [seed] = find_known(rows, wrong, {0, 1, 2})
    assert (seed.base, seed.output["label"], seed.how) == (1, "blue", "what was answered before, and Ada called wrong")
    assert find_known(rows, wrong, {0, 2}) == []


def test_a_row_that_still_says_so_or_has_other_fields_now_lends_itself_to_none() -> None:
    same, more = _wrong("a car", label="red", quote="A CAR"), _wrong("a bus", label="blue", quote="a bus", tone="dry")
    assert find_known([_row("a car"), _row("a bus")], [same, more], {0, 1}) == []


def test_a_round_has_one_of_them_at_most_and_none_for_its_only_seed() -> None:
    rows = [_row("a car"), _row("a bus")]
    known = find_known(rows, [_wrong(t, quote=t, label="blue") for t in ("a car", "a bus")], {0, 1})
    assert len(known) == 2
    rng = random.Random(1)  # noqa: S311 - a draw that can be told
    assert take_known(known, 1, _SCHEMA, rng) == []
    [seed] = take_known(known, 2, _SCHEMA, rng)
    assert list(seed.output) == ["label", "quote"]


def _answer(house: House, prompt: Prompt, text: str, label: str) -> str:
    """An answer that stands in the ledger; its request key."""
    given = canonical_json({"body": text}).decode()
    key = request_key(given, prompt.prompt_hash)
    opening, worker = Opening(key, prompt.prompt_hash, given, make_body(b"{}"), RUN, 1.0), house.worker
    [attempt_id] = house.ledger.write(lambda c: open_attempts(c, worker, [opening]))
    assert isinstance(attempt_id, int)
    output = canonical_json({"label": label, "quote": text}).decode()
    house.ledger.write(lambda c: accept(c, [(key, Completion(attempt_id, output))], 1.0))
    return key


def _read(house: House, key: str, text: str, label: str, verdict: str, *, at: float) -> None:
    digest = digest_output(canonical_json({"label": label, "quote": text}).decode())
    reading = Reading(RUN, 1, "r1", key, digest, verdict, "wrong colour", "Ada", "random", at)
    house.ledger.write(lambda c: record_readings(c, [reading]))


def test_what_a_reader_called_wrong_last_is_remembered_over_versions_of_the_prompt(house: House) -> None:
    house.begin()
    old = house.make_prompt(text="Sort: {{ body }}")
    car, bus = _answer(house, old, "a car", "blue"), _answer(house, old, "a bus", "blue")
    for key, text in ((car, "a car"), (bus, "a bus")):
        _read(house, key, text, "blue", "wrong", at=2.0)
    _read(house, bus, "a bus", "blue", "correct", at=3.0)
    with house.ledger.reading() as connection:
        [found] = find_wrong_answers(connection, "sort")
        assert find_wrong_answers(connection, "other") == []
    assert (found.input, found.by) == ('{"body":"a car"}', "Ada")


def test_a_review_shows_the_wrong_answer_of_before_among_its_seeds(house: House) -> None:
    house.begin()
    old = house.make_prompt(text="Sort: {{ body }}")
    for n in range(1, 31):
        _read(house, _answer(house, old, f"text {n}", "blue"), f"text {n}", "blue", "wrong", at=2.0)
    prompt = house.make_prompt()
    release = house.offer_checked(
        [house.check([f"text {n}" for n in range(1, 31)], prompt)], prompt, n_seeds=3, max_bad_share=0.5
    )
    with house.ledger.reading() as connection:
        draw = find_draw(connection, release.release_id)
    assert draw is not None
    seeds = {n: d for n, d in draw.drawn.items() if d.stratum == SEED}
    known = [n for n, d in seeds.items() if "called wrong" in (d.note or "")]
    assert (len(seeds), len(known)) == (3, 1)
    [item] = [item for item in draw.items if item.item == known[0]]
    assert item.output["label"] == "blue"
    # No row stands there twice: that would tell its seed.
    assert len({d.position for d in draw.drawn.values()}) == len(draw.drawn)
