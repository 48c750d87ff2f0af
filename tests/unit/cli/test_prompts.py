from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import yaml

from overnight.intake import read_batches
from overnight.prompts import load_prompt, render
from tasks.run import refuse_unfit_checks
from tests.unit.cli.conftest import Cli

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def project(cli: Cli, tmp_path: Path) -> Path:
    """The parts of a project that a prompt is added to; the fixture `cli` has gone there."""
    for folder in ("prompts", "flows", "data/samples"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text())
    return tmp_path


def _list_files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("options", "declared"),
    [
        ((), ("local:smollm2-135m", ("text",), None)),
        (("--inputs", "title, body", "--id", "review_id"), ("local:smollm2-135m", ("title", "body"), "review_id")),
        (("--model", "openai:gpt-5-mini", "--id", "text"), ("openai:gpt-5-mini", ("text",), "text")),
        # Words that YAML takes for something else.
        (("--inputs", "no,null", "--id", "on: off"), ("local:smollm2-135m", ("no", "null"), "on: off")),
    ],
)
def test_a_new_prompt_loads_fits_its_checks_and_renders_its_own_rows(
    cli: Cli, home: Path, options: tuple[str, ...], declared: tuple[str, tuple[str, ...], str | None]
) -> None:
    code, out, err = cli("prompts", "new", "label_review", *options)
    assert (code, err) == (0, "")
    assert "Try it: overnight run label_review" in out
    prompt = load_prompt("label_review")
    refuse_unfit_checks(prompt)
    assert (prompt.model, prompt.inputs, prompt.id_column) == declared
    _, inputs, id_column = declared
    source = "data/samples/label_review.csv"
    [batch] = read_batches(source, id_column=id_column, inputs=inputs, optional_inputs=(), place=home)
    assert (batch.n_rows, batch.n_quarantined) == (2, 0)
    system, user = render(prompt, dict.fromkeys(inputs, "Where is it?"))
    assert system
    assert user.count("Where is it?") == len(inputs)


def test_it_gets_a_flow_of_its_name_and_a_deployment(cli: Cli, project: Path) -> None:
    cli("prompts", "new", "label_review")
    tree = ast.parse((project / "flows/label_review.py").read_text())
    [function] = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert function.name == "label_review"
    assert "nightly_flow(name='label-review')" in ast.unparse(function.decorator_list[0])
    deployments = yaml.safe_load((project / "prefect.yaml").read_text())["deployments"]
    assert deployments[-1]["entrypoint"] == "flows.label_review.label_review"


def test_the_flow_goes_the_way_of_the_sample_flow(cli: Cli, project: Path) -> None:
    cli("prompts", "new", "triage_ticket", "--inputs", "body")
    body, sample = (
        ast.parse(path.read_text()).body[-1]
        for path in (project / "flows/triage_ticket.py", ROOT / "flows/triage_tickets.py")
    )
    assert isinstance(body, ast.FunctionDef)
    assert isinstance(sample, ast.FunctionDef)
    assert [ast.dump(line) for line in body.body[1:]] == [ast.dump(line) for line in sample.body[1:]]


def test_a_prompt_alone_leaves_flows_and_deployments_as_they_are(cli: Cli, project: Path) -> None:
    (project / "prefect.yaml").unlink()
    code, out, _ = cli("prompts", "new", "label_review", "--no-flow")
    assert code == 0
    assert "Try it" not in out
    assert not any((project / "flows").iterdir())
    assert load_prompt("label_review")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["../label"], "cannot name a prompt"),
        (["Label"], "cannot name a prompt"),
        (["label-review"], "cannot name a prompt"),
        (["1st"], "cannot name a prompt"),
        (["class"], "cannot name a prompt"),
        ([""], "cannot name a prompt"),
        (["label", "--inputs", "a b"], "which a template cannot name"),
        (["label", "--inputs", "a,,b"], "which a template cannot name"),
        (["label", "--inputs", "true"], "cannot show a column named 'true'"),
        (["label", "--inputs", "a,a"], "declared twice"),
        (["label", "--model", "gpt-5"], "is not PROVIDER:NAME"),
        (["label", "--model", "openai:g p t"], "front matter has faults"),
        (["made"], "flows/made.py is there already"),
        (["asked"], "prompts/asked is there already"),
        (["sampled"], "data/samples/sampled.csv is there already"),
        (["route_banking_query"], "deploys flows.route_banking_query.route_banking_query already"),
    ],
    ids=str,
)
def test_what_cannot_be_made_is_refused_in_one_line_and_nothing_is_written(
    cli: Cli, project: Path, arguments: list[str], says: str
) -> None:
    (project / "flows/made.py").touch()
    (project / "prompts/asked").mkdir()
    (project / "data/samples/sampled.csv").touch()
    before = _list_files(project)
    code, out, err = cli("prompts", "new", *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert says in err
    assert _list_files(project) == before


def test_what_was_written_is_taken_back_where_a_later_file_cannot_be(cli: Cli, project: Path) -> None:
    (project / "flows").rmdir()
    (project / "flows").write_text("no folder")
    before = _list_files(project)
    code, _, err = cli("prompts", "new", "label_review")
    assert (code, err.count("\n")) == (1, 1)
    assert "cannot be written" in err
    assert _list_files(project) == before
    assert not (project / "prompts/label_review").exists()


def test_prompts_are_listed_with_what_they_read_and_a_broken_one_with_why(cli: Cli, project: Path) -> None:
    assert "There are no prompts yet" in cli("prompts")[1]
    cli("prompts", "new", "label_review", "--id", "review_id")
    code, out, _ = cli("prompts")
    assert code == 0
    assert out.startswith("label_review: local:smollm2-135m, prompt ")
    assert "reads text; rows are named by review_id; 1 row checks and 1 batch checks" in out
    (project / "prompts/broken").mkdir()
    (project / "prompts/broken/prompt.md").write_text("no front matter")
    code, out, _ = cli("prompts", "--json")
    assert code == 1
    broken, label = json.loads(out)
    assert (broken["name"], "cannot be read" in broken["refused"]) == ("broken", True)
    assert (label["inputs"], len(label["prompt_hash"])) == (["text"], 64)


def test_the_hash_that_is_listed_is_the_one_that_answers_are_kept_under(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("prompts", "new", "label_review", "--model", "openai:gpt-fake")
    [here] = json.loads(cli("prompts", "--json")[1])
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    [elsewhere] = json.loads(cli("prompts", "--json")[1])
    assert here["prompt_hash"] != elsewhere["prompt_hash"]
    assert here["checks_hash"] == elsewhere["checks_hash"]


def test_outside_a_project_both_say_so(cli: Cli, project: Path) -> None:
    (project / "prompts").rmdir()
    for arguments in (["prompts"], ["prompts", "new", "label_review"]):
        code, _, err = cli(*arguments)
        assert (code, err.count("\n")) == (1, 1)
        assert "There is no prompts/ in" in err
