"""The doctor names what is wrong, says what to do, and fails where a night would."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from overnight.cli.doctor.finding import Finding
from overnight.cli.doctor.here import look_at_clocks
from overnight.cli.doctor.ledger import look_at_ledger
from overnight.settings import Settings
from tests.conftest import DATABASES, House
from tests.fakes.postgres import Postgres
from tests.fakes.prefect_api import FakePrefect, Plain
from tests.fakes.provider import FakeProvider, Scripted
from tests.unit.cli.conftest import Cli

ROOT = Path(__file__).parents[3]
_PROMPT = "---\nmodel: openai:gpt-4o\ninputs: [text]\n---\nSort this: {{ text }}\n"
_PROJECT = """
deployments:
  - {name: nightly, entrypoint: flows.sort.sort, work_pool: {name: overnight}, schedules: [{cron: "0 1 * * *"}]}
"""
_DEPLOYED = {"name": "nightly", "entrypoint": "flows.sort.sort", "paused": False, "schedules": [{"active": True}]}

_WORKERS = "/work_pools/overnight/workers/filter"

Look = Callable[..., dict[str, dict[str, str]]]


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> Iterator[FakePrefect]:
    """A server with all that the project wants."""
    answers: dict[str, Any] = {
        "/admin/version": version("prefect"),
        "/work_pools/overnight": {"is_paused": False},
        _WORKERS: [{"name": "one", "status": "ONLINE"}],
        "/deployments/filter": [_DEPLOYED],
        "/flow_runs/count": Plain(0),
    }
    with FakePrefect(answers) as fake:
        monkeypatch.setenv("PREFECT_API_URL", fake.url)
        yield fake


@pytest.fixture
def look(cli: Cli, tmp_path: Path, prefect: FakePrefect, fake: FakeProvider) -> Look:
    """Runs the doctor in a project with one prompt: what it found, by what it looked at."""
    folder = tmp_path / "prompts/sort"
    shutil.copytree(ROOT / "prompts/route_banking_query", folder, ignore=shutil.ignore_patterns("seeds.py"))
    (folder / "prompt.md").write_text(_PROMPT)
    (folder / "checks.json").write_text('{"row": [], "batch": []}')
    (tmp_path / "prefect.yaml").write_text(_PROJECT)

    def run(*arguments: str, code: int = 0) -> dict[str, dict[str, str]]:
        ended, out, err = cli("doctor", "--json", *arguments)
        told = json.loads(out)
        assert (ended, told["ok"]) == (code, code == 0), (out, err)
        return {finding["what"]: finding for finding in told["findings"]}

    return run


def test_where_all_is_well_nothing_fails_and_each_model_was_asked_once(look: Look, fake: FakeProvider) -> None:
    found = look()
    assert {what for what, f in found.items() if f["level"] != "ok"} <= {"notices", "disk"}
    assert {"pool overnight", "deployments", "server", "clock", "ledger", "packages"} <= found.keys()
    assert "answers by the schema (" in found["model openai:gpt-4o"]["said"]
    assert len(fake.calls) == 1


def test_without_calls_no_model_is_asked(look: Look, fake: FakeProvider) -> None:
    assert "not asked" in look("--no-calls")["model openai:gpt-4o"]["said"]
    assert not fake.calls


@pytest.mark.parametrize(
    ("answer", "said", "remedy"),
    [
        (Scripted(status=401), "401", "Copy the key anew"),
        (Scripted(text='{"colour": "purple"}'), "does not fit the schema", "does not keep to a schema"),
        (Scripted(text="Green, of course."), "malformed", "does not keep to a schema"),
        (Scripted(drop=True), "openai:gpt-4o", "Try again"),
    ],
)
def test_a_model_that_gives_no_answer_of_the_schema_fails(
    look: Look, fake: FakeProvider, answer: Scripted, said: str, remedy: str
) -> None:
    fake.answer = lambda _: answer
    finding = look(code=1)["model openai:gpt-4o"]
    assert finding["level"] == "fail"
    assert said in finding["said"]
    assert remedy in finding["remedy"]


def test_a_missing_key_fails_before_any_call(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.delenv("OPENAI_API_KEY")
    assert "OPENAI_API_KEY is not set" in look(code=1)["model openai:gpt-4o"]["said"]


@pytest.mark.parametrize(
    ("answers", "what", "said"),
    [
        ({"/work_pools/overnight": 404}, "pool overnight", "is not there"),
        ({"/work_pools/overnight": {"is_paused": True}, _WORKERS: []}, "pool overnight", "no worker is alive"),
        ({_WORKERS: [{"name": "a", "status": "OFFLINE"}]}, "pool overnight", "1 were there once"),
        ({"/deployments/filter": []}, "deployments", "sort/nightly"),
        ({"/admin/version": 401}, "server", "asks for a user and a password"),
        ({"/admin/version": 500}, "server", "status 500"),
    ],
)
def test_what_keeps_schedules_from_running_fails_by_name(
    look: Look, prefect: FakePrefect, answers: dict[str, Any], what: str, said: str
) -> None:
    prefect.answers |= answers
    finding = look("--no-calls", code=1)[what]
    assert finding["level"] == "fail"
    assert said in finding["said"]
    assert finding["remedy"]


@pytest.mark.parametrize(
    ("path", "answer", "what"),
    [
        ("/admin/version", "3.0.0", "server"),
        ("/deployments/filter", [_DEPLOYED | {"paused": True}], "schedules"),
        ("/deployments/filter", [_DEPLOYED | {"schedules": [{"active": False}]}], "schedules"),
        ("/flow_runs/count", Plain(3), "late runs"),
    ],
)
def test_what_may_go_wrong_is_a_warning(look: Look, prefect: FakePrefect, path: str, answer: Any, what: str) -> None:
    prefect.answers[path] = answer
    assert look("--no-calls")[what]["level"] == "warn"


def test_the_server_is_given_the_password_that_it_asks_for(
    look: Look, prefect: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "ada:secret")
    look("--no-calls")
    assert prefect.authorizations[-1] == "Basic YWRhOnNlY3JldA=="


def test_who_is_asked_for_a_password_hears_that_no_profile_is_read(look: Look, prefect: FakePrefect) -> None:
    prefect.answers["/admin/version"] = 401
    remedy = look("--no-calls", code=1)["server"]["remedy"]
    assert "PREFECT_API_AUTH_STRING" in remedy
    assert "a profile of Prefect's keeps is not read here" in remedy


def test_a_server_that_is_named_and_not_there_fails(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert "no Prefect server answers" in look("--no-calls", code=1)["server"]["said"]


def test_a_prompt_that_cannot_be_read_fails_and_the_others_are_looked_at(look: Look, tmp_path: Path) -> None:
    (tmp_path / "prompts/broken").mkdir()
    (tmp_path / "prompts/broken/prompt.md").write_text("no front matter")
    found = look("--no-calls", code=1)
    assert found["prompt broken"]["level"] == "fail"
    assert found["prompts"]["said"] == "sort"


@pytest.mark.parametrize("database", DATABASES)
def test_a_ledger_is_looked_at_and_left_as_it_is(house: House, database: str) -> None:
    house.begin()
    finding, ahead_s = look_at_ledger(house.settings)
    assert (finding.level, "1 runs" in finding.said) == ("ok", True)
    assert (ahead_s is None) == (database == "sqlite")


def test_an_empty_postgres_gets_no_tables(settings: Settings, postgres: Postgres) -> None:
    url = postgres.make_database()
    for _ in range(2):
        finding, _ahead_s = look_at_ledger(replace(settings, ledger_url=url))
        assert "the first run makes its tables" in finding.said


def test_a_newer_ledger_fails(house: House) -> None:
    house.tamper("UPDATE alembic_version SET version_num = '9999'")
    finding, _ = look_at_ledger(house.settings)
    assert (finding.level, finding.remedy) == ("fail", "Upgrade overnight on this machine.")


@pytest.mark.parametrize(("ahead_s", "level"), [(0.5, "ok"), (-20.0, "warn"), (3600.0, "fail")])
def test_clocks_that_are_apart_are_named(ahead_s: float, level: str) -> None:
    [finding] = look_at_clocks({"the server": ahead_s, "the database": None})
    assert isinstance(finding, Finding)
    assert (finding.level, "the server" in finding.said) == (level, True)


def test_a_key_that_others_can_read_fails(look: Look, house: House) -> None:
    house.settings.approval_key.write_bytes(b"x" * 32)
    house.settings.approval_key.chmod(0o644)
    assert "chmod 600" in look("--no-calls", code=1)["approval key"]["remedy"]


def test_in_words_each_finding_is_one_line_with_its_remedy_below(cli: Cli) -> None:
    code, out, _ = cli("doctor", "--no-calls")
    assert code == 1
    assert "FAIL  prompts: there is none in" in out
    assert "      Go to a project's folder" in out
    assert out.splitlines()[-1].endswith("may go wrong.")


@pytest.fixture(params=["prompt", "environment"])
def batched(request: pytest.FixtureRequest, look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A project whose rows go in provider batches."""
    if request.param == "prompt":
        (tmp_path / "prompts/sort/prompt.md").write_text(_PROMPT.replace("inputs:", "mode: batch\ninputs:"))
    else:
        monkeypatch.setenv("OVERNIGHT_MODE", "batch")


_FOLLOWER = {"name": "every-five-minutes", "entrypoint": "flows.follow_batches.follow_batches", "paused": False}


@pytest.mark.parametrize(
    ("follower", "level", "said"),
    [
        ([], "warn", "no flow follow-batches is deployed"),
        ([_FOLLOWER | {"schedules": [{"active": True}], "paused": True}], "warn", "is paused"),
        ([_FOLLOWER | {"schedules": [{"active": False}]}], "warn", "is paused"),
        ([_FOLLOWER | {"schedules": [{"active": True}]}], "ok", "followed by the flow follow-batches"),
    ],
)
@pytest.mark.usefixtures("batched")
def test_where_rows_go_in_provider_batches_somebody_has_to_follow_them(
    look: Look, prefect: FakePrefect, follower: list[Any], level: str, said: str
) -> None:
    prefect.answers["/deployments/filter"] = [_DEPLOYED, *follower]
    found = look("--no-calls")["provider batches"]
    assert (found["level"], said in found["said"]) == (level, True)
    assert bool(found["remedy"]) is (level == "warn")


def test_where_no_rows_go_in_provider_batches_nobody_has_to(look: Look) -> None:
    assert "provider batches" not in look("--no-calls")
