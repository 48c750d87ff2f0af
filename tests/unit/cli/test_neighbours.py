"""A project leaves the deployments of another folder alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from overnight.cli.neighbours import refuse_neighbour
from overnight.failures import OvernightError
from tests.fakes.prefect_api import FakePrefect

_PROJECT = """
pull:
  - prefect.deployments.steps.set_working_directory: {directory: "{{ $PWD }}"}
deployments:
  - {name: hourly, entrypoint: flows.remind_reviewers.remind_reviewers}
"""


@pytest.fixture
def prefect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePrefect]:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "here/prefect.yaml").write_text(_PROJECT)
    monkeypatch.chdir(tmp_path / "here")
    with FakePrefect({}) as fake:
        yield fake


def _deploy(folder: Path | None, entrypoint: str = "flows.remind_reviewers.remind_reviewers") -> list[dict[str, Any]]:
    steps = [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}] if folder else None
    return [{"name": "hourly", "entrypoint": entrypoint, "pull_steps": steps}]


@pytest.mark.parametrize("entrypoint", ["flows.remind_reviewers.remind_reviewers", "flows/other.py:remind_reviewers"])
def test_a_deployment_of_another_folder_is_refused_in_one_line(
    prefect: FakePrefect, tmp_path: Path, entrypoint: str
) -> None:
    prefect.answers["/deployments/filter"] = _deploy(tmp_path / "there", entrypoint)
    with pytest.raises(OvernightError) as refused:
        refuse_neighbour(prefect.url)
    said = str(refused.value)
    assert said.startswith(f"The deployment remind-reviewers/hourly on {prefect.url} is that of {tmp_path}/there, and")
    assert "PREFECT_API_URL=http://127.0.0.1:PORT/api overnight up" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("folder", "entrypoint"),
    [
        ("here", "flows.remind_reviewers.remind_reviewers"),
        ("there/../here", "flows.remind_reviewers.remind_reviewers"),
        ("there", "flows.another.another"),
        # Moved: nobody runs there any more.
        ("gone", "flows.remind_reviewers.remind_reviewers"),
        (None, "flows.remind_reviewers.remind_reviewers"),
    ],
)
def test_what_is_nobody_elses_is_put_in_place(
    prefect: FakePrefect, tmp_path: Path, folder: str | None, entrypoint: str
) -> None:
    prefect.answers["/deployments/filter"] = _deploy(tmp_path / folder if folder else None, entrypoint)
    refuse_neighbour(prefect.url)


@pytest.mark.parametrize(("status", "said"), [(401, "PREFECT_API_AUTH_STRING"), (500, "status 500")])
def test_a_server_that_does_not_say_is_refused(prefect: FakePrefect, status: int, said: str) -> None:
    prefect.answers["/deployments/filter"] = status
    with pytest.raises(OvernightError, match=said):
        refuse_neighbour(prefect.url)
