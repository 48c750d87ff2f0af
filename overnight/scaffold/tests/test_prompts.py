"""Every prompt loads, its checks fit its fields, and each sample row that has its columns renders."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from overnight.prompts import load_prompt, render
from tasks.run import refuse_unfit_checks

ROOT = Path(__file__).parents[1]
PROMPTS = sorted(path.parent.name for path in (ROOT / "prompts").glob("*/prompt.md"))


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_loads_and_its_checks_fit_its_fields(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    refuse_unfit_checks(load_prompt(name))


@pytest.mark.parametrize("name", PROMPTS)
def test_the_sample_rows_of_a_prompt_render(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    prompt = load_prompt(name)
    columns = [*prompt.inputs, *prompt.optional_inputs]
    rows = [row for row in _read_samples() if set(prompt.inputs) <= row.keys() and any(row.values())]
    assert rows, f"No file of data/samples/ has the columns {', '.join(prompt.inputs)}: add one with a few rows."
    for row in rows:
        _, user = render(prompt, {column: row.get(column) or None for column in columns})
        assert user


def _read_samples() -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for path in sorted((ROOT / "data" / "samples").glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows += csv.DictReader(file)
    return rows
