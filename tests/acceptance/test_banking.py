"""Three nights over a dataset of queries: each is paid for once, and a person beside the run lets it out."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.acceptance.project import finish
from tests.acceptance.site import Site
from tests.acceptance.waiting import wait_for
from tests.fakes.provider import FakeProvider

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

_N_ROWS = 300


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    """A provider that these nights alone ask."""
    with FakeProvider() as fake:
        yield fake


@pytest.fixture(scope="module")
def queries(site: Site) -> list[dict[str, str]]:
    """Distinct questions with a category and no id, as BANKING77 has them."""
    return [
        {"text": f"My card number {n} has not come yet. Where is it?", "category": "arrival"} for n in range(_N_ROWS)
    ]


def _write(queries: list[dict[str, str]], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "category"])
        writer.writeheader()
        writer.writerows(queries)


def _command(*more: str) -> tuple[str, ...]:
    return (
        "run", "route_banking_query", "--model", "openai:fake-model", "--source", "queries.csv",
        "--sink", "file:out/queries.parquet", "--json", *more,
    )  # fmt: skip


def test_the_first_night_asks_once_a_row(site: Site, provider: FakeProvider, queries: list[dict[str, str]]) -> None:
    _write(queries, site.project.folder / "queries.csv")
    done = site.project.run(*_command(), OPENAI_BASE_URL=provider.openai_base_url)
    assert done.code == 0, done.err
    assert (done.summary["rows"], done.summary["accepted"], done.summary["calls"]) == (_N_ROWS, _N_ROWS, _N_ROWS)
    assert len({call.raw for call in provider.calls}) == len(provider.calls) == _N_ROWS


def test_the_second_night_asks_nobody_and_waits_beside_the_person_who_decides_elsewhere(
    site: Site, provider: FakeProvider
) -> None:
    waiting = site.project.start(*_command("--wait"), OPENAI_BASE_URL=provider.openai_base_url)
    run_id = wait_for(lambda: _find_paused(site), "the run to pause")
    items = site.project.read_items(run_id)
    assert len(items) < _N_ROWS
    assert waiting.poll() is None
    reviewed = site.project.review(run_id, _all_correct(items, site.project.find_seeds(run_id)), "Ada")
    done = finish(waiting)
    assert (reviewed.code, done.code) == (0, 0), reviewed.err + done.err
    assert reviewed.summary["run_id"] == done.summary["run_id"] == run_id
    assert (done.summary["state"], done.summary["published"], done.summary["calls"]) == ("released", _N_ROWS, 0)
    assert len(provider.calls) == _N_ROWS
    assert pq.read_table(site.project.folder / "out/queries.parquet").num_rows == _N_ROWS


def _find_paused(site: Site) -> str | None:
    paused = {
        "flows": {"name": {"any_": ["route-banking-query"]}},
        "flow_runs": {"state": {"name": {"any_": ["Paused"]}}},
    }
    found = site.api.post("/flow_runs/filter", paused)
    return str(found[0]["name"]).rpartition(" ")[2] if found else None


def _all_correct(items: list[dict[str, Any]], seeds: set[int]) -> dict[str, Any]:
    """Of a reader who finds every seed."""
    verdicts = {str(i["item"]): "wrong" if i["item"] in seeds else "correct" for i in items}
    return {"decision": "release", "items": verdicts}


def test_rows_that_changed_since_are_asked_and_no_others(
    site: Site, provider: FakeProvider, queries: list[dict[str, str]]
) -> None:
    edited = [dict(q, text=q["text"] + " Please hurry.") if n % 30 == 7 else q for n, q in enumerate(queries)]
    _write(edited, site.project.folder / "queries.csv")
    n_before = len(provider.calls)
    done = site.project.run(*_command(), OPENAI_BASE_URL=provider.openai_base_url)
    assert done.code == 0, done.err
    assert (done.summary["calls"], done.summary["hits"]) == (10, _N_ROWS - 10)
    asked = provider.calls[n_before:]
    assert len(asked) == 10
    assert all("Please hurry." in str(call.body["messages"][-1]["content"]) for call in asked)
