"""A project from a wheel: built from the source archive, unpacked, and run with nothing of this repository in reach."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from tests.fakes.provider import FakeProvider

#: Everything is imported from files that nobody has compiled yet.
pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
ANSWER = {
    "category": "billing",
    "urgency": "normal",
    "summary": "The customer asks what became of an order.",
    "reply": "Thank you for your message. A colleague looks into your order today and writes to you.",
}

#: The command `overnight …`, its arguments after it; its output.
Command = Callable[..., str]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, as an installation lays them out."""
    folder = tmp_path_factory.mktemp("wheel")
    _build("sdist", ROOT, folder)
    [archive] = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder, filter="data")
    _build("wheel", folder / archive.name.removesuffix(".tar.gz"), folder)
    [wheel] = folder.glob("*.whl")
    shutil.unpack_archive(wheel, folder / "site", "zip")
    return folder / "site"


def _build(kind: str, source: Path, target: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


def _make_environment(unpacked: Path, **settings: str) -> dict[str, str]:
    """What the dependencies need, and the wheel before them; none of the .pth files that lead to this repository."""
    foreign = ("PREFECT_", "OVERNIGHT_", "OPENAI_", "PYTHON")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = os.pathsep.join([str(unpacked), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    return inherited | {"PYTHONPATH": path} | settings


def _run(environment: dict[str, str], folder: Path, *arguments: str) -> str:
    # Without the module site no .pth is read.
    done = subprocess.run(
        [sys.executable, "-S", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_runs_is_the_wheel_and_the_repository_is_out_of_reach(unpacked: Path, tmp_path: Path) -> None:
    script = "import overnight, sys; print(overnight.__file__, *sys.path, sep='\\n')"
    file, *path = _run(_make_environment(unpacked), tmp_path, "-c", script).splitlines()
    assert Path(file) == unpacked / "overnight/__init__.py"
    assert str(ROOT) not in path
    assert not (unpacked / "tasks").exists()


@pytest.fixture(scope="module")
def demo(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project, with a second prompt."""
    environment, folder = _make_environment(unpacked), tmp_path_factory.mktemp("projects")
    _run(environment, folder, "-m", "overnight", "init", "demo")
    _run(environment, folder / "demo", "-m", "overnight", "prompts", "new", "label_review")
    return folder / "demo"


def test_a_new_project_runs_up_to_the_gate(
    server: None, unpacked: Path, demo: Path, tmp_path: Path, fake: FakeProvider
) -> None:
    fake.answer = lambda _: ANSWER
    environment = _make_environment(
        unpacked,
        PREFECT_API_URL=str(PREFECT_API_URL.value()),
        PREFECT_HOME=str(tmp_path / "prefect"),
        OPENAI_BASE_URL=fake.openai_base_url,
        OPENAI_API_KEY="sk-test",
    )
    options = ("--model", "openai:fake", "--limit", "5", "--json")
    summary = json.loads(_run(environment, demo, "-m", "overnight", "run", "triage_tickets", *options))
    assert (summary["state"], summary["rows"], summary["accepted"], summary["calls"]) == ("waiting", 5, 5, 5)
    assert not (demo / "data/out").exists()


def test_the_tests_of_a_new_project_pass(unpacked: Path, demo: Path) -> None:
    # Those of its flow start a server of their own, which takes half a minute: at full length only.
    is_long = os.environ.get("OVERNIGHT_TRIALS") == "long"
    which = [] if is_long else ["--noconftest", "tests/test_prompts.py"]
    out = _run(_make_environment(unpacked), demo, "-m", "pytest", "-q", "-p", "no:cacheprovider", *which)
    assert ("6 passed" if is_long else "4 passed") in out
