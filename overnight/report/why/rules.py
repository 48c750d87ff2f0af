"""What each rule of a batch said of a row: rules of one name are told apart by what checks.json says they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overnight.records import Batch, CheckedBatch, CompletedBatch, RowState
from overnight.taxonomy import FailureClass

#: A result, and the words that it was recorded with.
Told = tuple[str, str | None]


@dataclass(frozen=True)
class Rule:
    """A rule of a batch, with what its words can be known by."""

    #: Where it stands in checks.json, from 1.
    number: int
    #: As the check step calls it: `type(column)`.
    label: str
    #: What checks.json says that it is for.
    reason: str | None
    only_warns: bool
    #: Whether a share of the rows may be otherwise.
    has_share: bool
    #: What its words about a row begin with; empty: nobody can tell.
    mark: str


def read_rules(rules: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """The rules of a batch in the order of checks.json."""
    return [_read_rule(number, rule) for number, rule in enumerate(rules, 1)]


def _read_rule(number: int, rule: Mapping[str, Any]) -> Rule:
    kwargs, reason = rule.get("kwargs") or {}, (rule.get("meta") or {}).get("reason")
    single = [kwargs[key] for key in ("column", "column_A", "column_B") if kwargs.get(key) is not None]
    columns = [str(column) for column in single or kwargs.get("column_list") or ()]
    return Rule(
        number=number,
        label=f"{rule['type']}({', '.join(columns)})" if columns else str(rule["type"]),
        reason=reason,
        only_warns=rule.get("severity", "critical") != "critical",
        has_share=kwargs.get("mostly") is not None,
        mark=f"{reason} (" if reason else f"{columns[0]} is " if columns else "",
    )


def judge_rules(
    row: Mapping[str, Any], batch: Batch | CompletedBatch | CheckedBatch | None, rules: Sequence[Rule]
) -> list[Told]:
    """
    What each rule came to for the row: "passed", "failed", "warned", "not reached", or "not known".

    Args:
        row: As its part has it.
        batch: The manifest of its batch, of the last stage that it reached; None: what was said of the batch is gone.
        rules: All rules of the batch.
    """
    is_judged = row["state"] == RowState.ACCEPTED or row["failure_class"] == FailureClass.BATCH_RULE
    if is_judged and batch is None:
        return [_judge_row(rule, row, rules) or ("not known", "what was said of the batch is gone") for rule in rules]
    if not isinstance(batch, CheckedBatch) or not is_judged:
        return [("not reached", None)] * len(rules)
    return [
        _judge_row(rule, row, rules) or _judge_batch(rule, batch, rules) or _judge_silence(rule, row) for rule in rules
    ]


def _judge_row(rule: Rule, row: Mapping[str, Any], rules: Sequence[Rule]) -> Told | None:
    """Whether the rule is among those that named this row; only the first of them is recorded by its name."""
    is_set_aside, said = row["failure_class"] == FailureClass.BATCH_RULE, row["reason"] or ""
    able = [r for r in rules if (not r.only_warns and not r.has_share if is_set_aside else r.only_warns)]
    first = _list_speakers([r for r in able if r.label == row["rule"]], said)
    if not first or rule not in able:
        return None
    result = "failed" if is_set_aside else "warned"
    if rule in first:
        return (result, said) if len(first) == 1 else ("not known", f"one of {len(first)} rules of this name: {said}")
    alike = [r for r in able if r.mark == rule.mark and r not in first]
    n_said = said.count(f"; {rule.mark}") if rule.mark else 0
    if n_said and (n_said < len(alike) or _is_quoted(rule.mark, row)):
        return "not known", f"it may have been one of several: {said}"
    return (result, said) if n_said else None


def _is_quoted(mark: str, row: Mapping[str, Any]) -> bool:
    """Whether the row itself has these words: then they need not be the rule's."""
    return any(mark in (row.get(name) or "") for name in ("input", "output"))


def _list_speakers(rules: Sequence[Rule], words: str) -> list[Rule]:
    """Those of the rules that may have said the words."""
    by_reason = [rule for rule in rules if rule.reason and words.startswith(rule.mark)]
    return by_reason or [rule for rule in rules if not rule.reason] or list(rules)


def _judge_batch(rule: Rule, batch: CheckedBatch, rules: Sequence[Rule]) -> Told | None:
    """What the rule said of the whole batch, if it did."""
    result, lines = ("warned", batch.warnings) if rule.only_warns else ("failed", batch.batch_failures)
    name = f"{rule.label}: "
    same = [r for r in rules if r.label == rule.label and r.only_warns == rule.only_warns]
    told = [(line.removeprefix(name), _list_speakers(same, line.removeprefix(name)))
            for line in lines if line.startswith(name)]  # fmt: skip
    own = [(words, speakers) for words, speakers in told if rule in speakers]
    if not own:
        return None
    words, speakers = own[0]
    if len(own) < len(speakers):
        return "not known", f"one of {len(speakers)} rules of this name, of the whole batch: {words}"
    # They speak in the order of checks.json.
    return result, f"of the whole batch: {own[speakers.index(rule)][0]}"


def _judge_silence(rule: Rule, row: Mapping[str, Any]) -> Told:
    if row["failure_class"] == FailureClass.BATCH_RULE and rule.only_warns and rule.has_share:
        return "not known", "what set the row aside is kept in place of what was only warned of it"
    return "passed", None
