"""A project's own row rules: functions of prompts/NAME/checks.py, run only as the run was pinned with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from overnight.checks.faults import Finding
from overnight.checks.project_code import import_text, shorten, tell_error
from overnight.checks.rules import Function
from overnight.failures import PromptRefused


@dataclass(frozen=True)
class ProjectRule:
    """A function rule with its function."""

    prompt: str
    name: str
    find_fault: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
    reask: str | None = None

    def judge(self, given: Mapping[str, Any], output: Mapping[str, Any]) -> Finding | None:
        """
        What the function finds wrong with the row.

        Raises:
            PromptRefused: It raised, or it returned neither None nor a line.
        """
        # The project's code may raise anything: its errors enter here, and are translated once.
        try:
            found = self.find_fault(given, output)
        except Exception as error:
            raise PromptRefused(
                f"Prompt {self.prompt}: {self.name} in checks.py raised {tell_error(error)} on a row. "
                "Mend it for values like that one's and start a new run."
            ) from error
        if found is None:
            return None
        line = shorten(found) if isinstance(found, str) else ""
        if not line:
            raise PromptRefused(
                f"Prompt {self.prompt}: {self.name} in checks.py returned {type(found).__name__} where None or a line "
                "of what is wrong is due. Mend it and start a new run."
            )
        return Finding(line, line)


def bind_function(rule: Function, *, prompt: str, code: str, path: Path) -> ProjectRule:
    """
    The rule with its function from checks.py.

    Raises:
        PromptRefused: The file is missing or not what was pinned, it cannot be imported, or lacks the function.
    """
    function = getattr(_import_pinned(prompt, code, path), rule.name, None)
    if not callable(function):
        what = "lacks" if function is None else "holds no function under"
        raise PromptRefused(
            f"Prompt {prompt}: {path} {what} {rule.name}, which checks.json names. Write it, or correct the name."
        )
    return ProjectRule(prompt, rule.name, function, rule.reask)


def _import_pinned(prompt: str, code: str, path: Path) -> ModuleType:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PromptRefused(
            f"Prompt {prompt}: checks.json names a function, but {path} cannot be read ({why}). Put the file there."
        ) from error
    if text != code:
        raise PromptRefused(
            f"Prompt {prompt}: {path} is not what the run was pinned with, and only that may judge its rows. "
            "Put it back, or start a new run."
        )
    # As above: importing runs the project's code.
    try:
        return import_text(code, str(path))
    except Exception as error:
        raise PromptRefused(
            f"Prompt {prompt}: {path} cannot be imported ({tell_error(error)}). Mend it and start a new run."
        ) from error
