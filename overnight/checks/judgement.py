"""What Great Expectations found, in plain values → the verdict on a batch; imports nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from overnight.failures import SuiteRefused
from overnight.masking import Veil
from overnight.records import BatchVerdict, RowFailure

_VALUE_CHARS = 80
#: Before the names of inputs, among the columns of a batch.
_INPUT = "input."


@dataclass(frozen=True)
class Outcome:
    """One rule's result."""

    rule: Mapping[str, Any]
    success: bool
    #: Empty where the rule raised, and for a few rules that have nothing to say.
    result: Mapping[str, Any]
    #: What the rule raised; None where it ran.
    fault: str | None

    @property
    def label(self) -> str:
        """`type(column)`: what people and the rows that failed call the rule."""
        columns = name_columns(self.rule)
        return f"{self.rule['type']}({', '.join(columns)})" if columns else str(self.rule["type"])


def flatten_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """
    One row as the rules see it: row_number, row_id, each output under its name, each input as `input.<name>`.

    Lists and objects become their JSON text.

    Raises:
        SuiteRefused: An output has the name of one of the other columns.
    """
    own = {"row_number": row["row_number"], "row_id": row["row_id"]}
    own |= {f"{_INPUT}{name}": _unnest(value) for name, value in row["input"].items()}
    if taken := own.keys() & row["output"].keys():
        raise SuiteRefused(
            f"Output field {min(taken)} has the name of a column that batch checks use for the row itself. "
            "Rename it in output.schema.json."
        )
    return own | {name: _unnest(value) for name, value in row["output"].items()}


def find_fault(exception_info: Mapping[str, Any]) -> str | None:
    """The message of what a rule raised, in either shape: flat, or keyed by metric id."""
    shapes = [exception_info] if "raised_exception" in exception_info else list(exception_info.values())
    raised = (s for s in shapes if isinstance(s, Mapping) and s.get("raised_exception"))
    return next((" ".join(str(s.get("exception_message")).split()) for s in raised), None)


def judge(outcomes: Sequence[Outcome], rows: Sequence[Mapping[str, Any]], private: Sequence[str] = ()) -> BatchVerdict:
    """
    The verdict on flattened rows, from the outcomes in the order of the suite.

    A critical rule without `mostly` that names rows fails those rows; any other critical rule speaks of the batch as a
    whole; a rule of severity warning or info only warns, of the batch and of the rows that it names. Rules over values
    skip nulls: a field that must be there needs `expect_column_values_to_not_be_null` beside them.

    Args:
        outcomes: Of the rules.
        rows: Flattened.
        private: Inputs, and fields of the output, whose values the verdict does not quote.

    Raises:
        SuiteRefused: A rule could not be judged, such as one over a column that the rows lack.
    """
    for outcome in outcomes:
        _refuse_unjudged(outcome)
    failed = [o for o in outcomes if not o.success]
    critical = [o for o in failed if not _only_warns(o)]
    by_number = {row["row_number"]: row for row in rows}
    list_rows, tell = partial(_list_rows, by_number=by_number, private=private), partial(_tell_batch, private=private)
    return BatchVerdict(
        row_failures=tuple(f for o in critical if _names_rows(o) for f in list_rows(o)),
        batch_failures=tuple(tell(o) for o in critical if not _names_rows(o)),
        warnings=tuple(tell(o) for o in failed if o not in critical),
        row_warnings=tuple(f for o in outcomes if _only_warns(o) for f in list_rows(o)),
        n_rules=len(outcomes),
        docs=None,
    )


def name_columns(rule: Mapping[str, Any]) -> list[str]:
    """The columns that a rule speaks of, in its own order."""
    kwargs = rule["kwargs"]
    single = [str(kwargs[key]) for key in ("column", "column_A", "column_B") if kwargs.get(key) is not None]
    return single or [str(c) for c in kwargs.get("column_list") or ()]


def _refuse_unjudged(outcome: Outcome) -> None:
    if outcome.fault:
        raise SuiteRefused(
            f"Batch rule {outcome.label} could not be judged: {outcome.fault.rstrip('.')}. Correct it in checks.json."
        )


def _names_rows(outcome: Outcome) -> bool:
    return bool(outcome.result.get("unexpected_index_list")) and outcome.rule["kwargs"].get("mostly") is None


def _only_warns(outcome: Outcome) -> bool:
    return bool(outcome.rule.get("severity", "critical") != "critical")


def _list_rows(
    outcome: Outcome, by_number: Mapping[int, Mapping[str, Any]], private: Sequence[str]
) -> Iterator[RowFailure]:
    for unexpected in outcome.result.get("unexpected_index_list") or ():
        number = int(unexpected["row_number"])
        row = _hide(by_number[number], private) if private else by_number[number]
        values = ", ".join(f"{c} is {_show(row.get(c))}" for c in name_columns(outcome.rule))
        yield RowFailure(number, outcome.label, _join(outcome.rule, values))


def _hide(row: Mapping[str, Any], private: Sequence[str]) -> dict[str, Any]:
    """A flattened row as it may be quoted."""
    given = {name.removeprefix(_INPUT): value for name, value in row.items() if name.startswith(_INPUT)}
    output = {name: value for name, value in row.items() if not name.startswith(_INPUT)}
    veil = Veil(private, given, output)
    return veil.hide_output(output) | {f"{_INPUT}{name}": value for name, value in veil.hide_input(given).items()}


def _tell_batch(outcome: Outcome, private: Sequence[str]) -> str:
    return f"{outcome.label}: {_join(outcome.rule, _tell_observed(outcome, is_private=bool(private)))}"


def _tell_observed(outcome: Outcome, *, is_private: bool) -> str:
    """What was found; where anything is private no value is quoted, for one may stand in another."""
    result = outcome.result
    examples = [] if is_private else [_show(v) for v in (result.get("partial_unexpected_list") or ())[:3]]
    such_as = f", such as {', '.join(examples)}" if examples else ""
    if "element_count" in result:
        return _tell_share(outcome, such_as)
    observed = result.get("observed_value")
    if observed is not None and (not is_private or isinstance(observed, int | float)):
        return f"observed {_show(observed)}{such_as}"
    return f"not met{such_as}"


def _tell_share(outcome: Outcome, such_as: str) -> str:
    n_judged = outcome.result["element_count"] - (outcome.result.get("missing_count") or 0)
    n_failing = outcome.result.get("unexpected_count") or 0
    share = f"{n_failing} of {n_judged} values fail{such_as}"
    mostly = outcome.rule["kwargs"].get("mostly")
    if mostly is None or not n_judged:
        return share
    return f"{share}; a share of {1 - n_failing / n_judged:.4g} passes, {mostly} is asked"


def _join(rule: Mapping[str, Any], detail: str) -> str:
    reason = (rule.get("meta") or {}).get("reason")
    return f"{reason} ({detail})" if reason else detail


def _show(value: Any) -> str:
    """One value as JSON, short; what JSON does not have is null or its text."""
    text = "null" if value is None or value != value else json.dumps(value, ensure_ascii=False, default=_plain)  # noqa: PLR0124 - only NaN differs from itself
    return text if len(text) <= _VALUE_CHARS else text[: _VALUE_CHARS - 1] + "…"


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _unnest(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, list | dict) else value
