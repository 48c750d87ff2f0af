from __future__ import annotations

import json
import runpy
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

import overnight
from overnight.failures import OvernightError
from overnight.keys import digest_bytes
from tasks import VERSION
from tests.unit.cli.conftest import Cli

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(cli: Cli, tmp_path: Path) -> Path:
    """A new project; the fixture `cli` has gone to its parent folder."""
    assert cli("init", "demo")[0] == 0
    return tmp_path / "demo"


def _list_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_project_has_a_flow_with_its_prompt_and_rows_and_the_tasks_as_they_are_here(project: Path) -> None:
    files = _list_files(project)
    assert files >= {
        ".gitignore", "README.md", "pyproject.toml", "prefect.yaml", "flows/triage_tickets.py",
        "prompts/triage_ticket/prompt.md", "data/samples/tickets.csv", "tests/test_prompts.py",
    }  # fmt: skip
    assert {path for path in files if path.startswith("prompts/") and "triage_ticket/" not in path} == set()
    for path in (ROOT / "tasks").glob("*.py"):
        assert (project / "tasks" / path.name).read_bytes() == path.read_bytes()


def test_its_declarations_name_it_and_pin_the_version_that_its_tasks_are_of(project: Path) -> None:
    declared = tomllib.loads((project / "pyproject.toml").read_text())
    assert declared["project"]["name"] == "demo"
    assert declared["project"]["dependencies"] == [f"overnight[local]=={overnight.__version__}"]
    for file in ("README.md", "pyproject.toml", ".gitignore"):
        assert "$" not in (project / file).read_text()


def test_each_of_its_flows_has_the_deployment_that_it_has_here_and_no_other_is_left(project: Path) -> None:
    made, here = (yaml.safe_load((folder / "prefect.yaml").read_text()) for folder in (project, ROOT))
    flows = {path.stem for path in (project / "flows").glob("*.py")} - {"__init__"}
    assert {"triage_tickets", "remind_reviewers", "replay_quarantine", "send_brief", "follow_batches"} <= flows
    assert made.pop("name") == "demo"
    kept = [each for each in here.pop("deployments") if each["entrypoint"].split(".")[1] in flows]
    assert made.pop("deployments") == kept
    assert {each["entrypoint"].split(".")[1] for each in kept} == flows
    here.pop("name")
    assert made == here


def test_no_flow_of_it_asks_a_prompt_that_it_does_not_have(project: Path) -> None:
    assert not [p for p in (project / "flows").glob("*.py") if "draft_reply" in p.read_text()]


@pytest.mark.parametrize("name", ["no", "007", "1e3", "Over_night"])
def test_a_name_that_yaml_takes_for_something_else_stays_a_name(cli: Cli, tmp_path: Path, name: str) -> None:
    assert cli("init", name)[0] == 0
    assert yaml.safe_load((tmp_path / name / "prefect.yaml").read_text())["name"] == name


def test_it_says_what_to_type_next(cli: Cli) -> None:
    _, out, _ = cli("init", "my nights/../demo")
    assert "cd 'my nights/../demo'\n" in out
    assert "overnight run triage_tickets" in out


def test_an_empty_folder_that_is_there_becomes_the_project(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nights").mkdir(mode=0o750)
    monkeypatch.chdir(tmp_path / "nights")
    code, out, _ = cli("init", ".")
    assert code == 0
    assert "cd " not in out
    assert (tmp_path / "nights").stat().st_mode & 0o777 == 0o750
    assert {path.name for path in Path().iterdir()} == {
        ".gitignore", "README.md", "data", "flows", "prefect.yaml", "prompts", "pyproject.toml", "tasks", "tests",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("taken", "is not empty: nothing was written"),
        ("file", "is there already, and is no folder"),
        ("link", "is there already, and is no folder"),
        ("no/such", "There is no folder"),
        ("-demo", "cannot be the name of a project"),
        ("de mo", "cannot be the name of a project"),
        ("démo", "cannot be the name of a project"),
        ("d" * 65, "cannot be the name of a project"),
        ("OVERNIGHT", "would need itself"),
        ("/", "cannot be the name of a project"),
    ],
)
def test_a_folder_that_is_taken_or_badly_named_is_refused_and_nothing_is_written(
    cli: Cli, tmp_path: Path, folder: str, says: str
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/notes.txt").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = set(tmp_path.rglob("*"))
    code, out, err = cli("init", "--", folder)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert says in err
    assert set(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_written_is_one_line(cli: Cli) -> None:
    code, _, err = cli("init", "/proc/demo")
    assert (code, err.count("\n")) == (1, 1)
    assert "No project can be made at /proc/demo" in err


def test_without_a_folder_it_is_misspelt(cli: Cli) -> None:
    code, _, err = cli("init")
    assert code == 2
    assert "Missing argument 'DIR'" in err


def test_the_tasks_name_the_version_of_the_package() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert VERSION == overnight.__version__ == declared["project"]["version"]


@pytest.fixture
def older(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose tasks/ was written by version 0.0.9 and not changed since; the commands run in it."""
    version = project / "tasks/_version.py"
    version.write_text(version.read_text().replace(f'"{overnight.__version__}"', '"0.0.9"'))
    (project / "tasks/gone.py").write_text("# a step that this version has no more\n")
    files = {path.name: digest_bytes(path.read_bytes()) for path in (project / "tasks").glob("*.py")}
    (project / "tasks/.written.json").write_text(json.dumps({"version": "0.0.9", "files": files}))
    monkeypatch.chdir(project)
    return project


def test_tasks_of_another_version_are_refused_where_they_are_imported(older: Path) -> None:
    with pytest.raises(OvernightError, match=r"is of overnight 0\.0\.9, .* `overnight init --tasks`"):
        runpy.run_path(str(older / "tasks/_version.py"))


@pytest.mark.parametrize("command", [["run", "triage_tickets"], ["plan", "triage_tickets"], ["up"]], ids=str)
def test_commands_refuse_them_in_one_line_before_they_start_anything(cli: Cli, older: Path, command: list[str]) -> None:
    code, out, err = cli(*command)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("overnight: tasks/ of this project is of overnight 0.0.9")
    assert "`overnight init --tasks`" in err


def test_tasks_that_nobody_changed_are_written_anew_and_nothing_is_left_of_the_old(cli: Cli, older: Path) -> None:
    code, out, _ = cli("init", "--tasks")
    assert code == 0
    assert out == f"tasks/ is of overnight {overnight.__version__} now; it was of 0.0.9.\n"
    assert not (older / "tasks/gone.py").exists()
    assert [path.name for path in older.iterdir() if "tasks" in path.name] == ["tasks"]
    runpy.run_path(str(older / "tasks/_version.py"))


def test_flows_and_deployments_that_the_project_lacks_are_named_with_how_to_add_them(cli: Cli, older: Path) -> None:
    (older / "flows/follow_batches.py").unlink()
    # Not everybody keeps the sample.
    (older / "flows/triage_tickets.py").unlink()
    declared = older / "prefect.yaml"
    known = yaml.safe_load(declared.read_text())
    gone = ("flows.follow_batches.follow_batches", "flows.watch_nights.watch_nights")
    known["deployments"] = [d for d in known["deployments"] if d["entrypoint"] not in gone]
    declared.write_text(yaml.safe_dump(known))
    code, out, _ = cli("init", "--tasks")
    first, second, copy, third, _, *entries = out.splitlines()
    assert (code, first[:8]) == (0, "tasks/ i")
    assert second == "This project lacks flows that this version has: flows/follow_batches.py. Copy them:"
    assert third.startswith("prefect.yaml has no deployment of follow_batches, watch_nights. Add these entries")
    # Done as it says, nothing is lacking.
    _, source, into = copy.split()
    shutil.copy(source, older / into)
    added = yaml.safe_load("\n".join(entries))
    known["deployments"] += added
    assert [entry["entrypoint"] for entry in added] == sorted(gone, reverse=True)
    declared.write_text(yaml.safe_dump(known))
    assert cli("init", "--tasks")[1].count("\n") == 1


def test_what_somebody_changed_is_kept_beside_and_named_and_what_they_added_stays(cli: Cli, older: Path) -> None:
    (older / "tasks/load.py").write_text("# mine\n")
    (older / "tasks/own_step.py").write_text("# added\n")
    (older / "tasks/own").mkdir()
    (older / "tasks/own/part.py").touch()
    code, out, _ = cli("init", "--tasks")
    assert code == 0
    assert "Yours, and still there: own, own_step.py." in out
    assert "You had changed load.py: the old folder is kept as tasks-0.0.9/." in out
    assert (older / "tasks-0.0.9/load.py").read_text() == "# mine\n"
    assert (older / "tasks/load.py").read_bytes() == (ROOT / "tasks/load.py").read_bytes()
    assert (older / "tasks/own_step.py").read_text() == "# added\n"
    assert (older / "tasks/own/part.py").exists()
    # Nothing is lost by a second time either.
    (older / "tasks/load.py").write_text("# mine again\n")
    cli("init", "--tasks", str(older))
    assert (older / f"tasks-{overnight.__version__}/load.py").read_text() == "# mine again\n"
    assert (older / "tasks/own_step.py").exists()


def test_without_a_record_of_what_was_written_the_old_tasks_are_kept(cli: Cli, older: Path) -> None:
    (older / "tasks/.written.json").write_text("[]")
    code, out, _ = cli("init", "--tasks")
    assert code == 0
    assert "You had changed _version.py: the old folder is kept as tasks-0.0.9/." in out
    assert "Yours, and still there: gone.py." in out


def test_only_a_project_has_tasks_that_are_written_anew(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("init", "--tasks")
    assert code == 1
    assert "has no flows/ and tasks/" in err
    assert not list(tmp_path.glob("*tasks*"))


def test_the_tasks_that_projects_are_given_are_not_written_over(cli: Cli) -> None:
    code, _, err = cli("init", "--tasks", str(ROOT))
    assert code == 1
    assert "there is nothing to write anew" in err
    assert not (ROOT / "tasks/.written.json").exists()
