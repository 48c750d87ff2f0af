"""Row rules: judged over one row's input and output before the answer is accepted, where a re-ask still helps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from overnight.checks.faults import Finding, RowFault
from overnight.checks.findings import judge_field
from overnight.checks.memory import BatchMemory
from overnight.checks.project_rule import ProjectRule
from overnight.checks.rules import Distinct, FieldRule
from overnight.taxonomy import FailureClass

RowRule = FieldRule | ProjectRule

#: What a row fails with; the other rules are plain failed checks.
_CLASSES = {"hedge": FailureClass.HEDGE, "not_echo": FailureClass.ECHO, "distinct": FailureClass.SAME_ANSWER}


def check_row(
    rules: Sequence[RowRule],
    input: Mapping[str, Any],  # noqa: A002 - the glossary's word for what a row is given
    output: Mapping[str, Any],
    memory: BatchMemory | None = None,
) -> RowFault | None:
    """
    The first rule that the row fails, soft ones last; None if it passes all.

    A field that is absent or null passes every rule but `verbatim`. Without a memory `distinct` passes. A row that
    passes is counted in the memory, in place of what its input was counted for before.

    Raises:
        PromptRefused: A function of the project failed on the row.
    """
    if memory:
        memory.forget(input)
    fault = _pick(_find_faults(rules, input, output, memory))
    if memory and fault:
        memory.forget(input)
    return fault


def _pick(faults: Iterator[RowFault]) -> RowFault | None:
    """The first hard fault, else the first soft one: what is let pass in the end must have met the other rules."""
    soft = None
    for fault in faults:
        if not fault.is_soft:
            return fault
        soft = soft or fault
    return soft


def _find_faults(
    rules: Sequence[RowRule], given: Mapping[str, Any], output: Mapping[str, Any], memory: BatchMemory | None
) -> Iterator[RowFault]:
    for rule in rules:
        if finding := _judge(rule, given, output, memory):
            yield _tell(rule, finding)


def _judge(
    rule: RowRule, given: Mapping[str, Any], output: Mapping[str, Any], memory: BatchMemory | None
) -> Finding | None:
    if isinstance(rule, ProjectRule):
        return rule.judge(given, output)
    value = output.get(rule.field)
    if isinstance(rule, Distinct):
        return None if memory is None or value is None else _find_repeat(rule, given, value, memory)
    return judge_field(rule, given, value)


def _find_repeat(rule: Distinct, given: Mapping[str, Any], value: Any, memory: BatchMemory) -> Finding | None:
    if memory.enter(given, rule.field, value) < rule.limit:
        return None
    return Finding(
        f"{rule.field} has a value that {rule.limit} other inputs of the batch have",
        f"The field {rule.field} has the same value that many other inputs got. Give the value that fits this input.",
    )


def _tell(rule: RowRule, finding: Finding) -> RowFault:
    kind, subject = ("function", rule.name) if isinstance(rule, ProjectRule) else (rule.rule, rule.field)
    return RowFault(
        label=f"{kind}({subject})",
        reason=finding.reason,
        complaint=rule.reask or finding.complaint,
        failure_class=_CLASSES.get(kind, FailureClass.CHECK_FAILED),
        is_soft=finding.is_soft,
    )
