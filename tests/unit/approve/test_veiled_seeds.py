"""Seeds of rows with private values: made of what readers see, and nothing tells them from rows."""

from __future__ import annotations

import random
from typing import Any

import pytest

from overnight.approve.seeds import Mutator, Seed, is_seen, make_seeds, make_veiled
from overnight.masking import Veil
from overnight.records import Answered

PRIVATE = ("email", "contact")
SCHEMA = {"properties": {"label": {"enum": ["red", "green", "blue"]}, "quote": {}, "contact": {}}}


SUBJECTS = (
    "the March invoice",
    "a lost parcel",
    "coffee from Kenya",
    "the broken screen",
    "my password",
    "old vouchers",
)


def make_row(n: int) -> Answered:
    address, subject = f"person{n}@private.example", SUBJECTS[n % len(SUBJECTS)]
    said = f"as {address} wrote of {subject}, and nobody but {address} has ever seen {subject}"
    output = {"label": "red", "quote": said, "contact": address}
    return Answered(f"r{n}", {"body": f"{subject}, says {address}", "email": address}, output)


def show(rows: list[Answered], seeds: list[Seed]) -> list[dict[str, Any]]:
    """What readers are shown of seeds."""
    bases = [rows[seed.base] for seed in seeds]
    return [
        Veil(PRIVATE, row.input, seed.output).hide_output(seed.output) for row, seed in zip(bases, seeds, strict=True)
    ]


def make_many(rows: list[Answered], *own: Mutator) -> list[Seed]:
    """Seeds made in every way that applies."""
    made: list[Seed] = []
    for number in range(20):
        make = make_veiled(make_seeds, PRIVATE)
        made += make(rows, range(len(rows)), SCHEMA, own, random.Random(number))  # noqa: S311 - a draw
    return made


def test_no_way_to_make_a_seed_takes_a_mark_apart() -> None:
    rows = [make_row(n) for n in range(6)]
    seeds = make_many(rows)
    quotes = [shown["quote"] for shown in show(rows, seeds)]
    assert {"the longest text cut short", "the answer of another row"} <= {seed.how for seed in seeds}
    whole = [quote.replace("[private: email]", "").replace("[private: contact of the answer]", "") for quote in quotes]
    assert [quote for quote in whole if "private" in quote or "[" in quote or "]" in quote] == []


def test_what_was_private_in_the_base_stands_in_its_seed() -> None:
    rows = [make_row(n) for n in range(6)]
    seeds = make_many(rows)
    assert {seed.output["contact"] == rows[seed.base].output["contact"] for seed in seeds} == {True}
    others = [(s, n) for s in seeds for n in range(6) if n != s.base and f"person{n}@" in str(s.output)]
    assert others == []


def test_a_mutator_of_the_prompt_s_own_reads_marks_as_reviewers_do() -> None:
    rows = [make_row(n) for n in range(6)]
    read: list[str] = []

    def turn(given: Any, output: Any, other: Any, rng: random.Random) -> dict[str, Any]:
        read.append(given["email"] + output["contact"])
        return {**output, "quote": f"Nothing of {given['email']}"}

    seeds = [seed for seed in make_many(rows, turn) if seed.how == "own: turn"]
    assert set(read) == {"[private: email][private: contact of the answer]"}
    assert {seed.output["quote"] for seed in seeds} <= {f"Nothing of person{n}@private.example" for n in range(6)}


def test_a_seed_that_differs_in_what_is_hidden_alone_is_none() -> None:
    row = make_row(1)
    assert not is_seen(Seed(0, {**row.output, "contact": "other@private.example"}, "made"), row, PRIVATE)
    assert is_seen(Seed(0, {**row.output, "label": "blue"}, "made"), row, PRIVATE)


def test_of_a_large_release_few_rows_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    veiled: list[Any] = []

    class Counted(Veil):
        def __init__(self, *given: Any) -> None:
            veiled.append(given)
            super().__init__(*given)

    monkeypatch.setattr("overnight.approve.seeds.veiled.Veil", Counted)
    rows, make = [make_row(n) for n in range(5000)], make_veiled(make_seeds, PRIVATE)
    dice = random.Random(1)  # noqa: S311 - a draw
    for base in range(3):
        assert make(rows, [base], SCHEMA, (), dice)
    assert len(veiled) < 3 * 450
