"""Prompts: a folder read and refused where it is incomplete, and a template filled with values."""

from __future__ import annotations

from pathlib import Path

from overnight.failures import PromptRefused
from overnight.keys import checks_hash
from overnight.prompts.front_matter import check_columns, check_manner, check_private, split_text
from overnight.prompts.refusals import refuse
from overnight.prompts.schema import check_schema, parse_object
from overnight.prompts.template import check_template, render
from overnight.records import Prompt

__all__ = ["load_prompt", "parse_prompt", "render"]

_FILES = ("prompt.md", "output.schema.json", "checks.json")
#: The project's own row checks; a prompt may do without.
_CODE = "checks.py"


def load_prompt(name: str, folder: Path = Path("prompts")) -> Prompt:
    """
    Read a prompt's folder.

    Raises:
        PromptRefused: There is no such folder, a file of it is missing, or its texts contradict each other.
    """
    existing = sorted(path.parent.name for path in folder.glob("*/prompt.md"))
    if name not in existing:
        known = ", ".join(existing) or "none"
        raise PromptRefused(f"There is no prompt {name!r} in {folder}/ ({known}). Name one of these, or add a folder.")
    text, schema, checks = (_read_text(name, folder / name / file) for file in _FILES)
    path = folder / name / _CODE
    return parse_prompt(
        name, text=text, schema=schema, checks=checks, code=_read_text(name, path) if path.exists() else ""
    )


def parse_prompt(name: str, *, text: str, schema: str, checks: str, code: str = "") -> Prompt:
    """
    The prompt that its texts make, as a folder or the ledger holds them; `code` is kept, never run here.

    Raises:
        PromptRefused: A text is malformed, or they contradict each other.
    """
    front, template = split_text(name, text)
    check_columns(name, front)
    check_manner(name, text, front)
    check_template(name, template, {*front.inputs, *front.optional_inputs})
    check_schema(name, schema)
    check_private(name, front, schema)
    _check_checks(name, checks)
    return Prompt(
        name=name,
        text=text,
        schema=schema,
        checks=checks,
        template=template,
        model=front.model,
        parameters=front.parameters,
        id_column=front.id,
        stronger=front.repair.stronger,
        fallback=front.repair.fallback,
        max_tokens_cap=front.repair.max_tokens,
        inputs=tuple(front.inputs),
        optional_inputs=tuple(front.optional_inputs),
        private=tuple(front.private),
        mode=front.mode,
        by=front.by,
        checks_hash=checks_hash(checks, code),
        code=code,
    )


def _read_text(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        refuse(name, path.name, f"cannot be read ({error.strerror})", f"A prompt's folder has {', '.join(_FILES)}.")
    except UnicodeDecodeError as error:
        refuse(name, path.name, f"is not UTF-8 ({error.reason} at byte {error.start})", "Save it as UTF-8.")


def _check_checks(name: str, text: str) -> None:
    checks = parse_object(name, "checks.json", text)
    if not all(isinstance(checks.get(key), list) for key in ("row", "batch")):
        refuse(name, "checks.json", "lacks one of its two lists", 'Give {"row": […], "batch": […]}; they may be empty.')
