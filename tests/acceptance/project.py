"""A project of its own: copies of what is committed, in a temporary folder, with a server and a provider of its own."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from overnight.ledger import Ledger
from overnight.ledger.queries import find_run
from overnight.ledger.releases import find_release
from tests.honest import find_seeds

_REPOSITORY = Path(__file__).parents[2]
_COPIED = ("flows", "tasks", "prompts", "data/samples")
#: The command as it was installed.
OVERNIGHT = Path(sys.executable).with_name("overnight")

#: What the deployed runs read, in the project's folder.
SOURCE = "tickets.csv"


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        """The last line of standard output, as JSON."""
        return dict(json.loads(self.out.splitlines()[-1]))


@dataclass(frozen=True)
class Project:
    """A project's folder and the environment that its commands run in."""

    folder: Path
    environment: dict[str, str]

    def start(self, *arguments: str, **settings: str | None) -> subprocess.Popen[str]:
        """Start the command `overnight`; a setting that is None is unset."""
        environment = {k: v for k, v in {**self.environment, **settings}.items() if v is not None}
        return subprocess.Popen(
            [OVERNIGHT, *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **settings: str | None) -> Done:
        """Run the command `overnight` to its end."""
        return finish(self.start(*arguments, **settings))

    def review(self, run_id: str, answers: dict[str, Any], reviewer: str, *, name: str = "answers.json") -> Done:
        """Run `overnight review` with a file of answers."""
        (self.folder / name).write_text(json.dumps(answers))
        return self.run("review", run_id, "--answers", name, "--reviewer", reviewer, "--json")

    def read_items(self, run_id: str) -> list[dict[str, Any]]:
        """What a reviewer of the run is shown."""
        done = self.run("review", run_id, "--json")
        assert done.code == 0, done.err
        return list(done.summary["items"])

    def find_seeds(self, run_id: str) -> set[int]:
        """The items that are seeds, of what a reviewer of the run is shown now."""
        with closing(self._open_ledger()) as ledger:
            with ledger.reading() as connection:
                release = find_release(connection, run_id)
            assert release is not None
            return find_seeds(ledger, release)

    def read_state(self, run_id: str) -> str | None:
        """Where the run stands, without a process of its own to ask; None before it has begun."""
        with closing(self._open_ledger()) as ledger, ledger.reading() as connection:
            found = find_run(connection, run_id)
        return str(found["state"]) if found else None

    def find_run(self, run_id: str) -> dict[str, Any]:
        """The run as `overnight runs` lists it."""
        listed = json.loads(self.run("runs", "--json").out)
        return dict(next(run for run in listed if run["run_id"] == run_id))

    def _open_ledger(self) -> Ledger:
        return Ledger(f"sqlite:///{self.environment['OVERNIGHT_HOME']}/ledger.sqlite")


def finish(process: subprocess.Popen[str], *, timeout_s: float = 100.0) -> Done:
    """Wait for a command's end."""
    with process:
        out, err = process.communicate(timeout=timeout_s)
    return Done(process.returncode, out, err)


def make_project(folder: Path, *, openai_base_url: str) -> Project:
    """Copy the project into the folder; its environment knows nothing of this machine's other servers."""
    for name in _COPIED:
        shutil.copytree(_REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    flow = folder / "flows/triage_tickets.py"
    # Whatever the sink, as few rows are read as one round bears.
    flow.write_text(
        flow.read_text()
        .replace("import Summary", "import ReviewPolicy, Summary")
        .replace("ask_approval(checked, sink)", "ask_approval(checked, sink, ReviewPolicy(max_bad_share=0.1))")
    )
    settings = {
        "OVERNIGHT_HOME": str(folder / "home"),
        "OVERNIGHT_ALLOW_HOSTS": "127.0.0.1",
        "OVERNIGHT_RETRY_BASE_S": "0.05",
        "OPENAI_BASE_URL": openai_base_url,
        "OPENAI_API_KEY": "sk-test",
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{_find_free_port()}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "3",
    }
    foreign = ("PREFECT_", "OVERNIGHT_", "OPENAI_", "ANTHROPIC_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    # Importing is most of what these processes do: what one has compiled, the next ones need not.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    return Project(folder, inherited | settings)


def write_source(project: Project, n_rows: int) -> None:
    """The first sample tickets, as the deployed runs' source."""
    with (project.folder / "data/samples/tickets.csv").open(newline="") as sample:
        rows = list(csv.reader(sample))[: n_rows + 1]
    with (project.folder / SOURCE).open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def write_deployments(project: Project, parameters: dict[str, str]) -> None:
    """The committed prefect.yaml, but that the tickets' schedule fires within three minutes, the others' never."""
    committed = yaml.safe_load((_REPOSITORY / "prefect.yaml").read_text())
    tickets, *others = committed["deployments"]
    tickets["parameters"] = parameters
    # Not every minute: on a busy machine the next one would be due before this one begins, and it be skipped.
    tickets["schedules"][0]["cron"] = "*/3 * * * *"
    for schedule in (s for other in others for s in other.get("schedules", ())):
        schedule["active"] = False
    # Where nobody followed provider batches, runs would not let go of their worker. It never fires while tests run.
    [follower] = [other for other in others if "follow_batches" in other["entrypoint"]]
    follower["schedules"] = [follower["schedules"][0] | {"active": True, "cron": "0 0 29 2 *"}]
    (project.folder / "prefect.yaml").write_text(yaml.safe_dump(committed, sort_keys=False))


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
