"""
The boundary, read from the code itself: what a flow cannot do, and who alone may make which record.

Import contracts are in pyproject.toml (`lint-imports`); here is what they do not see.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: What reaches outside by itself.
_WAYS_OUT = {"aiohttp", "ftplib", "http", "httpx", "os", "requests", "smtplib", "socket", "subprocess", "urllib"}

#: Steps in the right order, then one that leaves a step out: the type says which.
_RIGHT = """
from overnight.records import CompletedBatch, CheckedBatch, Approval, Receipt
from tasks import ask_approval, deliver_release, publish_report
from tasks.check import check_batches
from overnight.records import Prompt

def right(completed: list[CompletedBatch], prompt: Prompt) -> None:
    checked = check_batches(completed, prompt)
    publish_report(checked, deliver_release(ask_approval(checked, "file:out.jsonl")))
"""
_SKIPPED = {
    "the check": 'def skip_check(c: list[CompletedBatch]) -> None: ask_approval(c, "file:out.jsonl")',
    "the gate": "def skip_gate(c: list[CheckedBatch]) -> None: deliver_release(c)",
    "the approval by a word": "def skip_word() -> None: deliver_release(True)",
    "the delivery": "def skip_delivery(c: list[CheckedBatch], a: Approval) -> None: publish_report(c, a)",
}
# Only our own types matter: what the libraries say of theirs would take a minute.
_MYPY = """
[mypy]
strict = True
[mypy-prefect.*,pydantic.*,pydantic_core.*,pyarrow.*,sqlalchemy.*,alembic.*,httpx.*,aiohttp.*,pandas.*,jinja2.*]
follow_imports = skip
"""


def _modules(folder: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(), path.name)


def _imports(tree: ast.Module) -> set[str]:
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return named | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def _calls(tree: ast.Module, name: str) -> bool:
    called = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any((getattr(f, "id", None) or getattr(f, "attr", None)) == name for f in called)


@pytest.mark.parametrize("folder", ["flows", "tasks"])
def test_no_flow_and_no_task_imports_a_way_out(folder: str) -> None:
    found = {(file, name) for file, tree in _modules(folder) for name in _imports(tree)}
    assert found
    assert {(file, name) for file, name in found if name.split(".")[0] in _WAYS_OUT} == set()


def test_a_flow_imports_its_steps_and_the_record_it_returns() -> None:
    for file, tree in _modules("flows"):
        assert _imports(tree) <= {"tasks", "overnight.records", "prefect"}, file


def test_only_the_delivering_desk_imports_the_sinks() -> None:
    importing = {
        file
        for folder in ("overnight", "tasks", "flows")
        for file, tree in _modules(folder)
        if any(name == "overnight.sinks" or name.startswith("overnight.sinks.") for name in _imports(tree))
    }
    assert {file.rpartition("/")[0] for file in importing} == {"overnight/sinks", "overnight/deliver"}


@pytest.mark.parametrize(
    ("record", "makers"),
    [
        ("CompletedBatch", {"overnight/complete/"}),
        ("CheckedBatch", {"overnight/checks/"}),
        # The one mints it from a person's verdicts, the other reads it back.
        ("Approval", {"overnight/approve/mint.py", "overnight/ledger/approvals.py"}),
        ("Receipt", {"overnight/ledger/promises.py"}),
        ("Verified", {"overnight/deliver/verify.py"}),
    ],
)
def test_each_record_is_made_by_its_own_step_alone(record: str, makers: set[str]) -> None:
    found = [f for folder in ("overnight", "tasks", "flows") for f, tree in _modules(folder) if _calls(tree, record)]
    assert found
    assert [f for f in found if not f.startswith(tuple(makers))] == []


def test_nobody_loads_what_could_be_code() -> None:
    loading = {"pickle", "cloudpickle", "marshal", "shelve", "dill"}
    for folder in ("overnight", "tasks", "flows"):
        for file, tree in _modules(folder):
            assert not loading & {name.split(".")[0] for name in _imports(tree)}, file


def test_skipping_a_step_is_a_type_error(tmp_path: Path) -> None:
    snippet, config = tmp_path / "snippet.py", tmp_path / "mypy.ini"
    snippet.write_text(_RIGHT + "\n".join(_SKIPPED.values()) + "\n")
    config.write_text(_MYPY)
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", str(tmp_path), str(snippet)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if "error:" in line]
    first = len(_RIGHT.splitlines()) + 1
    assert [line.split(":")[1] for line in errors] == [str(first + n) for n in range(len(_SKIPPED))], done.stdout
    assert all("[arg-type]" in line for line in errors)
