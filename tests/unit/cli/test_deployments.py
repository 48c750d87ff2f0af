from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from overnight.cli.deployments import append_deployment
from overnight.failures import OvernightError

PLAIN = """\
# Ours.
name: nights
deployments:
  # The first.
  - name: nightly
    entrypoint: flows.first.first
    schedules:
      - {timezone: America/Lima, cron: "0 1 * * *"}
"""


def _append(text: str) -> str:
    return append_deployment(text, flow="label_review", description="Rows get a label.")


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.rstrip("\n"),
        PLAIN + "\n\n# That is all.\n",
        PLAIN + "\n# Of the other file.\nprefect-version: 3\n",
        "deployments:\n- entrypoint: flows.a.a\n- entrypoint: flows.b.b\nname: x\n",
        (Path(__file__).parents[3] / "prefect.yaml").read_text(),
    ],
    ids=["plain", "no-newline", "comment-below", "key-below", "no-indent", "ours"],
)
def test_a_deployment_is_added_after_the_others_and_every_line_stays(text: str) -> None:
    edited = _append(text)
    before, after = yaml.safe_load(text), yaml.safe_load(edited)
    made = after["deployments"].pop()
    assert after == before
    assert (made["name"], made["entrypoint"]) == ("nightly", "flows.label_review.label_review")
    left = iter(edited.splitlines())
    assert all(line in left for line in text.splitlines())


def test_its_schedule_sleeps_in_the_timezone_of_the_others() -> None:
    [schedule] = yaml.safe_load(_append(PLAIN))["deployments"][-1]["schedules"]
    assert (schedule["active"], schedule["timezone"]) == (False, "America/Lima")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\n", "has no list of deployments"),
        ("deployments: []\n", "has no list of deployments"),
        ("deployments: [{entrypoint: flows.a.a}]\n", "has no list of deployments"),
        ("deployments:\n", "has no list of deployments"),
        ("- a\n", "has no list of deployments"),
        ("", "has no list of deployments"),
        ("a: [\n", "is not YAML"),
        ("deployments:\n  - name: x\n", "without an entrypoint"),
        ("deployments:\n  - entrypoint: flows.label_review.label_review\n", "already"),
    ],
)
def test_a_file_that_cannot_take_one_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(OvernightError, match=says) as caught:
        _append(text)
    assert "\n" not in str(caught.value)
    assert "--no-flow" in str(caught.value)
