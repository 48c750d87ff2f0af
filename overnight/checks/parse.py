"""checks.json as written → `Checks`: what Great Expectations thinks of the batch rules comes later, in the child."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from overnight.checks.drift import DriftRule, refuse_unmeasured
from overnight.checks.project_rule import ProjectRule, bind_function
from overnight.checks.rows import RowRule
from overnight.checks.rules import Distinct, Function, WrittenRule
from overnight.failures import PromptRefused


@dataclass(frozen=True)
class Checks:
    """The checks of a prompt, in the order they were written."""

    row: tuple[RowRule, ...] = ()
    #: Each an expectation: "type", "kwargs", "severity" and "meta", and where given "notes" and "description".
    batch: tuple[dict[str, Any], ...] = ()
    #: The share of rows that may be quarantined, with any model and with the embedded one; None: no limit.
    max_quarantined: float | None = 0.02
    max_quarantined_embedded: float | None = None
    #: Inputs, and fields of the output, whose values stand in no reason, line or page.
    private: tuple[str, ...] = ()
    #: How far a run may differ from the one before; the first that names a thing decides.
    drift: tuple[DriftRule, ...] = ()
    #: A run whose figures are what others are compared with, until a later one has been approved.
    drift_since: str | None = None

    @property
    def compares_rows(self) -> bool:
        """Whether a row check needs to know the answers of the other rows of a batch."""
        return any(isinstance(rule, Distinct) for rule in self.row)

    def max_quarantined_of(self, is_embedded: bool) -> float | None:
        """The share that holds: what was written, else none for the embedded model, which is there to be tried."""
        return self.max_quarantined_embedded if is_embedded else self.max_quarantined


#: Arguments of expectations that begin like a column's and name none.
_NOT_COLUMNS = {"column_index"}


class _BatchRule(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: Annotated[str, Field(min_length=1)]
    kwargs: dict[str, Any] = {}
    severity: Literal["critical", "warning", "info"] = "critical"
    meta: dict[str, Any] = {}
    notes: str | None = None
    description: str | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    row: tuple[Annotated[WrittenRule, Field(discriminator="rule")], ...] = ()
    batch: tuple[_BatchRule, ...] = ()
    max_quarantined: Annotated[float, Field(ge=0, le=1)] | None = None
    drift: tuple[DriftRule, ...] = ()
    drift_since: Annotated[str, Field(min_length=1)] | None = None


def parse_checks(text: str, *, prompt: str, code: str = "", path: Path | None = None) -> Checks:
    """
    The checks that `text` spells out.

    Args:
        text: checks.json.
        prompt: The prompt's name.
        code: The text of checks.py that the run was pinned with; run only where a rule names a function of it.
        path: Where that file stands; None: in the prompt's folder under prompts/.

    Raises:
        PromptRefused: It is not JSON, or a rule is unknown or incomplete; the message names the place. Or a function
            is not to be had from the pinned checks.py.
    """
    try:
        file = _File.model_validate_json(text)
    except ValidationError as error:
        raise PromptRefused(
            f"Prompt {prompt}: checks.json {_tell_fault(error.errors()[0])}. Correct it and run again."
        ) from error
    path = path or Path("prompts") / prompt / "checks.py"
    row = (bind_function(r, prompt=prompt, code=code, path=path) if isinstance(r, Function) else r for r in file.row)
    batch = tuple(rule.model_dump(exclude_none=True) for rule in file.batch)
    checks = Checks(row=tuple(row), batch=batch, drift=file.drift, drift_since=file.drift_since)
    if "max_quarantined" not in file.model_fields_set:
        return checks
    return replace(checks, max_quarantined=file.max_quarantined, max_quarantined_embedded=file.max_quarantined)


def refuse_unknown_fields(checks: Checks, *, prompt: str, fields: Collection[str], inputs: Collection[str]) -> None:
    """
    Hold the rules against the prompt's output fields and inputs: a mistyped name would check nothing.

    Raises:
        PromptRefused: A rule names a field, an input or a column that the prompt does not have.
    """
    columns = {"row_number", "row_id", *fields, *(f"input.{name}" for name in inputs)}
    for number, rule in enumerate(checks.row):
        if isinstance(rule, ProjectRule):
            continue
        _refuse_unknown(prompt, f"row[{number}].field", [rule.field], fields)
        _refuse_unknown(prompt, f"row[{number}].of", [of] if (of := getattr(rule, "of", None)) else [], inputs)
    for number, expectation in enumerate(checks.batch):
        for key, value in expectation["kwargs"].items():
            if key.startswith("column") and key not in _NOT_COLUMNS:
                names = value if isinstance(value, list) else [value]
                _refuse_unknown(
                    prompt, f"batch[{number}].kwargs.{key}", [n for n in names if isinstance(n, str)], columns
                )
    refuse_unmeasured(checks.drift, prompt=prompt, fields=fields, inputs=inputs)


def _refuse_unknown(prompt: str, place: str, names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise PromptRefused(
                f"Prompt {prompt}: checks.json names {name!r} at {place}, which is none of {', '.join(sorted(known))}."
                " Correct it and run again."
            )


def _tell_fault(fault: ErrorDetails) -> str:
    if fault["type"] == "json_invalid":
        return f"is not JSON ({fault['ctx']['error']})"
    return f"is refused at {_name_place(fault['loc'])}: {_tell_reason(fault)}"


def _tell_reason(fault: ErrorDetails) -> str:
    match fault["type"]:
        case "union_tag_not_found":
            return 'the rule\'s name, "rule", is missing'
        case "union_tag_invalid":
            return f'rule "{fault["ctx"]["tag"]}" is unknown; there are {fault["ctx"]["expected_tags"]}'
        case "value_error":
            return str(fault["ctx"]["error"])
        case _:
            return fault["msg"][:1].lower() + fault["msg"][1:]


def _name_place(loc: tuple[int | str, ...]) -> str:
    """`row[0].limit` for ("row", 0, "max_chars", "limit"): pydantic adds the rule's name, the file has no such step."""
    if len(loc) > 2 and loc[0] == "row":  # noqa: PLR2004 - list and number stand before the rule's name
        loc = (*loc[:2], *loc[3:])
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in loc).lstrip(".") or "its top level"
