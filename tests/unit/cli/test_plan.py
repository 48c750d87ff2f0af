from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from overnight.cli.plan import describe, warn_of_budget
from overnight.complete import Estimate, Range
from overnight.complete.forecast import Forecast, Ground
from overnight.complete.misses import Reason
from overnight.complete.plan import Plan, StepPlan
from overnight.ledger.spend import night_scope
from overnight.records import Mode
from tests.conftest import House
from tests.unit.cli.conftest import Cli

ROOT = Path(__file__).parents[3]
NEEDS = Estimate(Range(3.0, 3.3), Range(3000.0, 4500.0), Range(90.0, 90.0), Range(0.5, 0.75))


@pytest.fixture
def step(house: House) -> StepPlan:
    misses = dict.fromkeys(Reason, 0) | {Reason.CHANGED_ROW: 1, Reason.NEW_ROW: 2}
    return StepPlan(house.make_prompt(), 1010, 4, 1000, 3, misses, Forecast(NEEDS, Ground.RECORDED), 0)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the shipped flow, its prompt and a source."""
    for name in ("flows", "prompts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "queries.csv").write_text("text\nwhere is my card\nwhat is my PIN\n")
    return tmp_path


def test_a_plan_in_words_has_its_figures(step: StepPlan) -> None:
    assert describe("sort-them", Plan("a.csv", 1010, (step,))).splitlines() == [
        "sort-them: 1,010 rows of a.csv; nothing was called",
        "  sort, openai:gpt-fake",
        "    1,010 rows = 1,000 hits + 3 to ask + 3 quarantined before + 4 at intake",
        "      1 changed since the last run",
        "      2 new",
        "    3 to 4 calls for 0.5000 to 0.7500 USD, 3,000 to 4,500 tokens in, 90 out",
        "    as such rows have taken so far",
    ]


def test_a_step_whose_rows_are_not_all_known_says_at_least(step: StepPlan) -> None:
    words = describe("sort-them", Plan("a.csv", 1010, (replace(step, n_unknown=7),)))
    assert "at least 1,010 rows = " in words
    assert "7 rows of the step before are still to be answered" in words
    assert "at least 3 to 4 calls" in words


def test_a_cost_that_is_not_known_is_not_nothing(step: StepPlan) -> None:
    unpriced = replace(step, forecast=Forecast(replace(NEEDS, cost_usd=None), Ground.SIZES))
    words = describe("sort-them", Plan("a.csv", 1010, (unpriced,)))
    assert "calls at an unknown price" in words
    assert "a guess from the sizes" in words


def test_a_plan_without_a_step_says_so() -> None:
    assert "nothing would be asked" in describe("sort-them", Plan(None, 0, ()))


def test_a_budget_is_spoken_of_only_where_the_high_end_is_over_it(house: House, step: StepPlan) -> None:
    plan = Plan("a.csv", 1010, (step, step))
    assert warn_of_budget(plan, replace(house.settings, budget_usd=1.5, nightly_budget_usd=1.5)) == []
    [line] = warn_of_budget(plan, replace(house.settings, budget_usd=1.25))
    assert "It may cost 1.5000 USD" in line
    assert "1.25 USD" in line


def test_of_the_nightly_budget_what_was_spent_tonight_is_gone(house: House, step: StepPlan) -> None:
    settings = replace(house.settings, nightly_budget_usd=1.0)
    assert warn_of_budget(Plan("a.csv", 1010, (step,)), settings) == []
    spent = {"scope": night_scope(time.time()), "usd": 0.5}
    house.tamper("INSERT INTO spend (scope, spent_usd, reserved_usd) VALUES (:scope, :usd, 0)", **spent)
    [line] = warn_of_budget(Plan("a.csv", 1010, (step,)), settings)
    assert "the 0.5 USD left of this night" in line


def test_a_plan_as_json_is_one_object_on_standard_output(cli: Cli, project: Path) -> None:
    code, out, err = cli("plan", "route", "--source", "queries.csv", "--limit", "1", "--json")
    assert (code, err) == (0, "")
    plan = json.loads(out)
    assert (plan["flow"], plan["source"], plan["rows"], plan["misses"]) == ("route-banking-query", "queries.csv", 1, 1)
    # The embedded model costs nothing.
    assert plan["steps"][0]["cost_usd"] == {"low": 0.0, "high": 0.0}


def test_a_warning_of_the_budget_stands_beside_the_json(
    cli: Cli, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERNIGHT_BUDGET_USD", "0")
    arguments = ("plan", "route", "--source", "queries.csv", "--model", "openai:gpt-4o-mini")
    code, out, err = cli(*arguments, "--json")
    assert (code, json.loads(out)["misses"]) == (0, 2)
    assert err.startswith("It may cost 0.000")
    code, out, err = cli(*arguments)
    assert (code, err) == (0, "")
    assert "a run halts before it is over its 0 USD" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan", "nothing"], "'nothing' names no flow"),
        (["plan", "route", "--source", "no.csv"], "no.csv cannot be opened"),
        (["plan", "route", "--source", "queries.csv", "--model", "gpt"], "Model 'gpt' is not PROVIDER:NAME"),
    ],
    ids=str,
)
def test_a_fault_is_one_line_and_exit_code_1(cli: Cli, project: Path, arguments: list[str], says: str) -> None:
    code, out, err = cli(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith(f"overnight: {says}")
    assert err.count("\n") == 1


def test_a_prompt_that_is_broken_is_one_line(cli: Cli, project: Path) -> None:
    (project / "prompts" / "route_banking_query" / "checks.json").unlink()
    code, _, err = cli("plan", "route", "--source", "queries.csv")
    assert (code, err.count("\n")) == (1, 1)
    assert "checks.json" in err


BATCH_NEEDS = replace(NEEDS, batch_cost_usd=Range(0.25, 0.375))


def test_a_plan_in_words_has_the_price_of_batches_and_how_it_would_ask(step: StepPlan) -> None:
    priced = replace(step, forecast=Forecast(BATCH_NEEDS, Ground.RECORDED), has_batch_price=True)
    words = describe("sort-them", Plan("a.csv", 1010, (priced,)))
    assert "    in batches 0.2500 to 0.3750 USD\n    asked online, as neither the prompt nor --mode says batch" in words
    words = describe("sort-them", Plan("a.csv", 1010, (replace(priced, mode=Mode.BATCH, by="06:00"),)))
    assert "    asked in batches: answered within a day, and online what is not answered shortly before 06:00" in words
    words = describe("sort-them", Plan("a.csv", 1010, (replace(priced, has_batch_price=False),)))
    assert "in batches counted the same: there is no price of batches of openai:gpt-fake on the list" in words


def test_a_budget_is_held_against_the_price_of_the_way_that_rows_are_asked(house: House, step: StepPlan) -> None:
    settings = replace(house.settings, budget_usd=0.5)
    online = replace(step, forecast=Forecast(BATCH_NEEDS, Ground.RECORDED))
    assert len(warn_of_budget(Plan("a.csv", 1010, (online,)), settings)) == 1
    assert warn_of_budget(Plan("a.csv", 1010, (replace(online, mode=Mode.BATCH),)), settings) == []
    # What is not answered in time is asked online, and that may be all of it.
    by_six = replace(online, mode=Mode.BATCH, by="06:00")
    assert "It may cost 0.7500 USD" in warn_of_budget(Plan("a.csv", 1010, (by_six,)), settings)[0]


def test_rows_that_are_with_a_provider_stand_beside_those_to_ask(step: StepPlan) -> None:
    misses = dict.fromkeys(Reason, 0) | {Reason.WITH_PROVIDER: 3}
    words = describe("sort-them", Plan("a.csv", 1010, (replace(step, misses=misses),))).splitlines()
    assert words[2:] == [
        "    1,010 rows = 1,000 hits + 0 to ask + 3 with a provider + 3 quarantined before + 4 at intake",
        "      3 with a provider already: neither asked nor paid for anew",
    ]
    both = replace(step, misses=misses | {Reason.NEW_ROW: 2})
    assert "+ 2 to ask + 3 with a provider +" in describe("sort-them", Plan("a.csv", 1010, (both,)))
    assert " calls for " in describe("sort-them", Plan("a.csv", 1010, (both,)))


def test_a_plan_as_json_has_both_prices_and_the_mode(cli: Cli, project: Path) -> None:
    asked = ("plan", "route", "--source", "queries.csv", "--model", "openai:gpt-5-mini", "--json")
    [online] = json.loads(cli(*asked)[1])["steps"]
    [batch] = json.loads(cli(*asked, "--mode", "batch", "--by", "06:00")[1])["steps"]
    assert (online["mode"], online["by"], batch["mode"], batch["by"]) == ("online", None, "batch", "06:00")
    assert online["cost_usd"] == batch["cost_usd"]
    assert batch["batch_cost_usd"]["high"] == pytest.approx(batch["cost_usd"]["high"] / 2)
    # The embedded model has no batches.
    [local] = json.loads(cli("plan", "route", "--source", "queries.csv", "--json")[1])["steps"]
    assert (local["batch_cost_usd"], local["has_batch_price"]) == (None, False)
