"""What a new project is made of: the repository's own folders, which a wheel carries beside the templates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import overnight
from overnight.failures import OvernightError

#: The prompt that a new project begins with, and the rows for it; its flow goes with it.
SAMPLE, ROWS = "triage_ticket", Path("data/samples/tickets.csv")

_TEMPLATES = Path(overnight.__file__).parent / "scaffold"
#: Filled with the project's name and the version, and renamed.
_FILLED = {"pyproject.toml.in": "pyproject.toml", "README.md.in": "README.md", "gitignore.in": ".gitignore"}
_LOADED_PROMPT = re.compile(r"""load_prompt\(\s*["'](\w+)["']""")


def list_files(*, name: str) -> Iterator[tuple[Path, bytes]]:
    """The files of a new project of this name, each with its path in it."""
    for file, filled in _FILLED.items():
        yield Path(filled), fill(file, name=name)
    for path in sorted((_TEMPLATES / "tests").glob("*.py")):
        yield Path("tests") / path.name, path.read_bytes()
    carried = find_carried()
    for flow in list_flows():
        yield Path("flows") / flow.name, flow.read_bytes()
    for path in sorted((carried / "prompts" / SAMPLE).iterdir()):
        if path.is_file():
            yield Path("prompts") / SAMPLE / path.name, path.read_bytes()
    yield ROWS, (carried / ROWS).read_bytes()
    yield from list_tasks()


def list_tasks() -> Iterator[tuple[Path, bytes]]:
    """The files of tasks/ that fit this version."""
    for path in sorted((find_carried() / "tasks").glob("*.py")):
        yield Path("tasks") / path.name, path.read_bytes()


def list_flows() -> list[Path]:
    """The sample's flow and those that every project has: all that load no other prompt."""
    flows = sorted((find_carried() / "flows").glob("*.py"))
    return [path for path in flows if {*_LOADED_PROMPT.findall(path.read_text(encoding="utf-8"))} <= {SAMPLE}]


def list_common_flows() -> list[Path]:
    """The flows that every project has, whatever its prompts are: those that load none."""
    flows = sorted((find_carried() / "flows").glob("*.py"))
    return [path for path in flows if not _LOADED_PROMPT.search(path.read_text(encoding="utf-8"))]


def read_deployments() -> str:
    """prefect.yaml as this repository has it."""
    return (find_carried() / "prefect.yaml").read_text(encoding="utf-8")


def fill(file: str, *, name: str) -> bytes:
    """A template with the project's name and this version."""
    text = (_TEMPLATES / file).read_text(encoding="utf-8")
    return text.replace("$name", name).replace("$version", overnight.__version__).encode()


def find_carried() -> Path:
    """
    The folder with tasks/, flows/ and prompts/: in a wheel that of the templates, in a checkout the repository.

    Raises:
        OvernightError: Neither has them.
    """
    for folder in (_TEMPLATES, _TEMPLATES.parents[1]):
        if (folder / "tasks/_version.py").is_file() and (folder / "prefect.yaml").is_file():
            return folder
    raise OvernightError(f"overnight in {_TEMPLATES.parent} came without the files of a project. Install it again.")
