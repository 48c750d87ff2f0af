"""What a plan of the shipped flow says before and after nights of it, and that it leaves no trace."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from flows.route_banking_query import route_banking_query
from overnight.cli.plan import as_object
from overnight.failures import InputRefused, OvernightError, PromptRefused
from overnight.ledger.columns import metadata
from overnight.records import Summary
from overnight.settings import Settings
from tasks import (
    ask_approval,
    chain_batches,
    check_batches,
    complete_batches,
    load_batches,
    load_prompt,
    nightly_flow,
)
from tasks.plan import find_planning, plan_flow
from tests.fakes.provider import Scripted, answer_by_schema
from tests.flows.conftest import QUERIES, Project

NOTHING = {
    "with_provider": 0,
    "never_answered": 0,
    "changed_model": 0,
    "changed_prompt": 0,
    "changed_row": 0,
    "new_row": 0,
}


def _plan(project: Project, flow: Any = route_banking_query, **parameters: Any) -> dict[str, Any]:
    """The plan as JSON; no call is made, and home and ledger are as they were."""
    before = _look(project)
    given = {"source": "queries.csv", "model": "openai:gpt-fake"} | parameters
    plan = as_object(flow.name, plan_flow(flow, given, Settings.from_env()))
    assert _look(project) == before
    assert find_planning() is None
    return plan


def _look(project: Project) -> tuple[object, ...]:
    home = project.folder / "data"
    files = {str(p): p.stat().st_size for p in home.rglob("*") if p.is_file()}
    counts = []
    if home.exists():
        with project.ledger.reading() as connection:
            tables = metadata.tables.values()
            counts = [connection.execute(sa.select(sa.func.count()).select_from(t)).scalar_one() for t in tables]
    return len(project.fake.calls), files, counts


def _misses(plan: dict[str, Any]) -> dict[str, int]:
    [step] = plan["steps"]
    assert step["rows"] == step["quarantined_at_intake"] + step["hits"] + step["quarantined_before"] + plan["misses"]
    return {reason: n for reason, n in step["misses"].items() if n}


def test_before_the_first_night_every_row_is_new_and_no_home_is_made(project: Project) -> None:
    plan = _plan(project)
    [step] = plan["steps"]
    assert {k: plan[k] for k in ("flow", "source", "rows", "hits", "misses")} == {
        "flow": "route-banking-query",
        "source": "queries.csv",
        "rows": 3,
        "hits": 0,
        "misses": 3,
    }
    assert step["misses"] == NOTHING | {"new_row": 3}
    assert (step["prompt"], step["model"]) == ("route_banking_query", "openai:gpt-fake")
    assert step["calls"] == {"low": 3, "high": 3}
    assert step["output_tokens"] == {"low": 3, "high": 3 * 160}
    assert (step["estimated_from"], step["cost_usd"], step["unknown_rows"]) == ("sizes", None, 0)
    assert not (project.folder / "data").exists()


def test_after_a_night_all_are_hits_and_the_next_night_calls_as_many_as_were_planned(project: Project) -> None:
    project.run("night-1")
    after = _plan(project)
    assert (after["hits"], after["misses"], after["steps"][0]["estimated_from"]) == (3, 0, "recorded usage")
    (project.folder / "queries.csv").write_text("\n".join(["text", "my card is late", *QUERIES[1:], "one more"]))
    edited = _plan(project)
    assert (edited["hits"], _misses(edited)) == (2, {"changed_row": 1, "new_row": 1})
    assert edited["steps"][0]["calls"] == {"low": 2, "high": 2}
    assert project.run("night-2").summary.calls == 2
    assert _misses(_plan(project)) == {}


def test_another_prompt_and_another_model_say_so(project: Project) -> None:
    project.run("night-1")
    other = _plan(project, model="openai:gpt-other")
    assert (_misses(other), other["steps"][0]["estimated_from"]) == ({"changed_model": 3}, "sizes")
    text = project.checks.parent / "prompt.md"
    text.write_text(text.read_text().replace("You sort questions", "You route questions"))
    changed = _plan(project)
    assert _misses(changed) == {"changed_prompt": 3}
    assert changed["steps"][0]["estimated_from"] == "another version of the prompt"


def test_a_row_that_stayed_pending_was_never_answered_and_one_that_was_refused_is_not_asked(project: Project) -> None:
    def answer(body: dict[str, Any]) -> Any:
        text = str(body["messages"])
        return Scripted(status=503) if "PIN" in text else Scripted(refusal="no") if "card has" in text else {}

    project.fake.answer = lambda body: answer(body) or answer_by_schema(body)
    project.run("night-1")
    plan = _plan(project)
    assert (plan["hits"], plan["steps"][0]["quarantined_before"]) == (1, 1)
    assert _misses(plan) == {"never_answered": 1}


def test_a_model_whose_key_is_missing_stops_no_plan(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.run("night-1")
    monkeypatch.delenv("OPENAI_API_KEY")
    assert _plan(project)["hits"] == 3
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert _misses(_plan(project, model="anthropic:claude-fake")) == {"changed_model": 3}


def test_what_a_run_would_refuse_a_plan_refuses(project: Project) -> None:
    with pytest.raises(InputRefused, match=r"no\.csv cannot be opened"):
        _plan(project, source="no.csv")
    checks: Any = json.loads(project.checks.read_text())
    checks["row"][0]["field"] = "evidense"
    project.checks.write_text(json.dumps(checks))
    with pytest.raises(PromptRefused, match="evidense"):
        _plan(project)


@nightly_flow(name="read-apart")
def read_apart(source: str, model: str, second: str | None = None) -> Summary:
    prompt = load_prompt("route_banking_query")
    batches = load_batches(source, prompt)
    load_batches(second or source, prompt)
    # As a project of one's own may: something else between the steps, and its own handling of what fails.
    seen = [batch.n_rows for batch in batches]
    completed = complete_batches(batches, prompt, model)
    try:
        ask_approval(check_batches(completed, prompt), "file:out.jsonl")
    except Exception as error:
        raise AssertionError(seen) from error
    raise AssertionError("the gate was passed")


@nightly_flow(name="ask-twice")
def ask_twice(source: str, model: str) -> Summary:
    prompt, second = load_prompt("route_banking_query"), load_prompt("explain")
    routed = check_batches(complete_batches(load_batches(source, prompt), prompt, model), prompt)
    chained = chain_batches(routed, second)
    explained = check_batches(complete_batches(chained, second, model), second)
    ask_approval(explained, "file:out.jsonl")
    raise AssertionError("the gate was passed")


@nightly_flow(name="ask-thrice")
def ask_thrice(source: str, model: str) -> Summary:
    first, second, third = load_prompt("route_banking_query"), load_prompt("explain"), load_prompt("sum_up")
    routed = check_batches(complete_batches(load_batches(source, first), first, model), first)
    explained = check_batches(complete_batches(chain_batches(routed, second), second, model), second)
    complete_batches(chain_batches(explained, third), third, model)
    ask_approval(explained, "file:out.jsonl")
    raise AssertionError("the gate was passed")


@nightly_flow(name="count-sheep")
def count_sheep(source: str, model: str) -> Summary:
    return None  # type: ignore[return-value]


@nightly_flow(name="need-a-day")
def need_a_day(source: str, model: str, day: str) -> Summary:
    raise NotImplementedError


def test_a_flow_of_one_s_own_is_run_as_it_is_up_to_its_gate(project: Project) -> None:
    plan = _plan(project, read_apart)
    assert (plan["rows"], plan["misses"], len(plan["steps"])) == (3, 3, 1)


def _rows_hits_unknown(plan: dict[str, Any]) -> list[tuple[int, int, int]]:
    return [(step["rows"], step["hits"], step["unknown_rows"]) for step in plan["steps"]]


def _add_prompt(project: Project, name: str, given: str, answered: str) -> None:
    folder = project.folder / "prompts" / name
    folder.mkdir()
    (folder / "prompt.md").write_text(f"---\nmodel: openai:gpt-fake\ninputs: [{given}]\n---\n{{{{ {given} }}}}")
    schema = {"type": "object", "additionalProperties": False, "required": [answered]}
    (folder / "output.schema.json").write_text(json.dumps(schema | {"properties": {answered: {"type": "string"}}}))
    (folder / "checks.json").write_text('{"row": [], "batch": []}')


def test_what_the_first_step_has_not_answered_is_unknown_to_all_that_follow(project: Project) -> None:
    _add_prompt(project, "explain", "intent", "why")
    _add_prompt(project, "sum_up", "why", "gist")
    assert _rows_hits_unknown(_plan(project, ask_thrice)) == [(3, 0, 0), (0, 0, 3), (0, 0, 3)]


def test_a_second_step_is_planned_over_the_answers_that_are_there(project: Project) -> None:
    _add_prompt(project, "explain", "text", "why")
    assert _rows_hits_unknown(_plan(project, ask_twice)) == [(3, 0, 0), (0, 0, 3)]
    given = {"source": "queries.csv", "model": "openai:gpt-fake"}
    assert project.call("night-1", ask_twice, **given).name == "COMPLETED Waiting"
    after = _plan(project, ask_twice)
    assert _rows_hits_unknown(after) == [(3, 3, 0), (3, 3, 0)]
    assert (after["rows"], after["hits"], after["misses"]) == (3, 6, 0)
    (project.folder / "queries.csv").write_text("\n".join(["text", "my card is late", *QUERIES[1:]]))
    edited = _plan(project, ask_twice)
    assert _rows_hits_unknown(edited) == [(3, 2, 0), (2, 2, 1)]


def test_a_second_source_is_refused_as_a_run_refuses_it(project: Project) -> None:
    with pytest.raises(InputRefused, match=r"would have pinned queries\.csv, and other\.csv is another"):
        _plan(project, read_apart, second="other.csv")


def test_a_flow_that_calls_no_step_has_an_empty_plan(project: Project) -> None:
    plan = _plan(project, count_sheep)
    assert plan == {"flow": "count-sheep", "source": None, "steps": [], "rows": 0, "hits": 0, "misses": 0}


def test_a_parameter_that_nobody_gives_is_named(project: Project) -> None:
    with pytest.raises(OvernightError, match=r"need-a-day cannot be planned: missing a required argument: 'day'"):
        _plan(project, need_a_day)
