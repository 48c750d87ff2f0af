"""What became of a prompt since it was recorded: its files then, and in the project's folder now."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CODE = "checks.py"


def compare_prompt(name: str, files: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """
    How each recorded file differs from the one in the project's folder.

    Args:
        name: The prompt's.
        files: By name, as they were recorded.
        folder: Where the project keeps its prompts.

    Returns:
        `state`, "unchanged", "changed" or "gone" (the folder), and for each file its state and its unified diff.
    """
    if not (folder / name).is_dir():
        return {"state": "gone", "folder": str(folder / name), "files": []}
    # Code that was added since is a change too.
    then = {**files, _CODE: files.get(_CODE, "")} if "checks.json" in files else dict(files)
    compared = [_compare(file, text, folder / name / file) for file, text in then.items()]
    found = [one for one in compared if one]
    is_same = all(one["state"] == "unchanged" for one in found)
    return {"state": "unchanged" if is_same else "changed", "folder": str(folder / name), "files": found}


def _compare(file: str, then: str, path: Path) -> dict[str, Any] | None:
    now = _read(path)
    if now is None and not then:
        return None
    if now is None:
        return {"file": file, "state": "gone", "diff": None}
    if now == then:
        return {"file": file, "state": "unchanged", "diff": None}
    lines = difflib.unified_diff(
        then.splitlines(), now.splitlines(), f"{file} as it was recorded", f"{file} as it is now", lineterm=""
    )
    # Only the end of the last line differs where no line does.
    return {"file": file, "state": "changed", "diff": "\n".join(lines) or "(line ends alone differ)"}


def _read(path: Path) -> str | None:
    """The text as a prompt's loader reads it; None where there is none."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return None
