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

#: What reaches outside by itself, or brings in by a string what does.
_WAYS_OUT = {
    *("aiohttp", "ftplib", "http", "httpx", "requests", "smtplib", "socket", "telnetlib", "urllib", "urllib3"),
    *("builtins", "ctypes", "importlib", "multiprocessing", "os", "runpy", "shutil", "subprocess"),
    *("boto3", "fsspec", "psycopg", "s3fs", "sqlite3"),
}
#: Sinks, and the room that signs.
_ROOMS_OUT = ("overnight.sinks", "overnight.approve.mint", "overnight.signature")
#: What writes, or runs a string, by whatever name it is reached; `write_part` and a ledger's `write` are none of them.
_WRITES = {
    *("__import__", "eval", "exec", "import_module", "create_engine"),
    *("open", "fdopen", "open_connection", "create_connection", "urlopen", "popen", "system"),
    *("write_bytes", "write_text", "write_csv", "write_table", "savetxt"),
    *("to_clipboard", "to_csv", "to_excel", "to_feather", "to_hdf", "to_html", "to_json", "to_orc", "to_parquet"),
    *("to_pickle", "to_sql", "to_stata", "to_xml"),
}

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


def _imports_from(tree: ast.Module, module: str) -> set[str]:
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return {alias.name for node in nodes if node.module == module for alias in node.names}


def _calls(tree: ast.Module, name: str) -> bool:
    return name in _list_called(tree)


def _list_called(tree: ast.Module) -> set[str]:
    called = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {getattr(f, "id", None) or getattr(f, "attr", "") for f in called}


def list_ways_out(tree: ast.Module) -> set[str]:
    """The imports and calls of flow code by which something could leave without the gate."""
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    named = _imports(tree) | {f"{module}.{name}" for module in modules for name in _imports_from(tree, module)}
    rooms = {name for name in named if f"{name}.".startswith(tuple(f"{room}." for room in _ROOMS_OUT))}
    return rooms | {name for name in named if name.split(".")[0] in _WAYS_OUT} | (_list_called(tree) & _WRITES)


def list_strangers(tree: ast.Module) -> set[str]:
    """What a flow imports besides its steps and the record that it returns."""
    [steps] = [
        set(ast.literal_eval(node.value))
        for file, module in _modules("tasks")
        for node in module.body
        if file == "tasks/__init__.py" and isinstance(node, ast.Assign)
    ]
    # By `import tasks`, and by a module of that room, one reaches everything that it imports.
    modules = _imports(tree) - {"tasks", "overnight.records", "prefect"}
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return modules | (plain & {"tasks"}) | (_imports_from(tree, "tasks") - steps)


def find_type_errors(snippet: str, folder: Path) -> dict[int, str]:
    """What mypy says of a snippet, by line."""
    # What it knows of the libraries and of our own modules is kept for the next snippet.
    file, config, cache = folder / "snippet.py", folder / "mypy.ini", folder.parent / "mypy-cache"
    file.write_text(snippet)
    config.write_text(_MYPY)
    command = [sys.executable, "-m", "mypy", "--config-file", str(config), "--cache-dir", str(cache), str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [line.split(":", 2) for line in done.stdout.splitlines() if "error:" in line]
    assert all(Path(name).name == file.name for name, *_ in lines), done.stdout
    return {int(number): said for _, number, said in lines}


@pytest.mark.parametrize("folder", ["flows", "tasks"])
def test_no_flow_and_no_task_has_a_way_out(folder: str) -> None:
    found = {file: list_ways_out(tree) for file, tree in _modules(folder)}
    assert found
    assert {file: ways for file, ways in found.items() if ways} == {}


def test_a_flow_imports_its_steps_and_the_record_it_returns() -> None:
    for file, tree in _modules("flows"):
        assert list_strangers(tree) == set(), file


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
    errors = find_type_errors(_RIGHT + "\n".join(_SKIPPED.values()) + "\n", tmp_path)
    first = len(_RIGHT.splitlines()) + 1
    assert sorted(errors) == [first + n for n in range(len(_SKIPPED))], errors
    assert all("[arg-type]" in said for said in errors.values())
