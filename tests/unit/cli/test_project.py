from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from overnight.cli.project import find_flow_module, fit_parameters
from overnight.failures import OvernightError


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flows").mkdir()
    for name in ("__init__", "_shared", "triage_tickets", "triage_tickets_twice", "route_query"):
        (tmp_path / "flows" / f"{name}.py").touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("route_query", "route_query"),
        ("route-query", "route_query"),
        ("route", "route_query"),
        ("r", "route_query"),
        # Its own name, though another starts so.
        ("triage-tickets", "triage_tickets"),
        ("triage_tickets_t", "triage_tickets_twice"),
    ],
)
def test_a_flow_is_found_by_its_name_or_the_start_of_it(name: str, module: str) -> None:
    assert find_flow_module(name) == module


@pytest.mark.parametrize("name", ["triage", "", "nothing", "_shared", "__init__", "../flows/route_query"])
def test_a_name_that_means_none_or_several_is_refused_with_those_that_exist(name: str) -> None:
    with pytest.raises(OvernightError) as caught:
        find_flow_module(name)
    assert "Its flows are route_query, triage_tickets, triage_tickets_twice." in str(caught.value)


def test_a_folder_without_flows_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path / "flows")
    with pytest.raises(OvernightError, match="There are no flows in"):
        find_flow_module("route")


def test_only_options_that_were_given_are_passed_on_and_a_flow_must_take_them() -> None:
    def steps(source: str = "a.csv", sink: str = "file:b.jsonl") -> None: ...

    flow: Any = SimpleNamespace(fn=steps, name="route-query")
    assert fit_parameters(flow, {"source": "x.csv", "sink": None, "model": None}) == {"source": "x.csv"}
    with pytest.raises(OvernightError, match=r"The flow route-query takes no --model\. It takes source, sink"):
        fit_parameters(flow, {"model": "openai:gpt-fake"})
