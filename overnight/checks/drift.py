"""How far a run may differ from the one before: the limits that checks.json declares, and those that hold without."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config

from overnight.failures import PromptRefused
from overnight.taxonomy import FailureClass

Severity = Literal["hold", "warning", "ignore"]
_Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]
#: What of each kind of thing is held against a limit.
_MEASURES = {"length": ("ks",), "rate": ("points",), "values": ("psi", "points")}

#: Requests that failed with them are counted as "rate.refusals".
_AS_REFUSALS = {FailureClass.REFUSAL, FailureClass.CONTENT_FILTER}


@with_config(ConfigDict(extra="forbid", strict=True))
@dataclass(frozen=True)
class DriftRule:
    """How far the things of this name may differ, and what comes of it where they differ more."""

    #: A name such as "output.intent", or a pattern with * such as "input.*.length".
    of: Annotated[str, Field(min_length=1)]
    #: Population stability index, over what chance alone gives.
    psi: _Limit | None = None
    #: Kolmogorov-Smirnov statistic of lengths.
    ks: Annotated[float, Field(gt=0, le=1)] | None = None
    #: Percentage points, of a rate or of the share of one value.
    points: Annotated[float, Field(gt=0, le=100)] | None = None
    severity: Severity = "hold"


@dataclass(frozen=True)
class DriftLimit:
    """What holds for one thing."""

    psi: float = 0.2
    ks: float = 0.15
    points: float = 2.0
    severity: Severity = "warning"


def find_limit(rules: Sequence[DriftRule], what: str) -> DriftLimit:
    """The limit for a thing: of the first rule that names it, else the one that holds without."""
    plain = DriftLimit()
    rule = next((r for r in rules if fnmatchcase(what, r.of)), None)
    if rule is None:
        return plain
    return DriftLimit(rule.psi or plain.psi, rule.ks or plain.ks, rule.points or plain.points, rule.severity)


def refuse_unmeasured(
    rules: Sequence[DriftRule], *, prompt: str, fields: Collection[str], inputs: Collection[str]
) -> None:
    """
    Hold the drift rules against what is measured of the prompt: one that names nothing would limit nothing.

    Raises:
        PromptRefused: A rule names nothing that is measured, or gives a limit that nothing of it is held against.
    """
    kinds = dict(_list_measured(fields, inputs))
    for number, rule in enumerate(rules):
        named = {kind for name, kind in kinds.items() if fnmatchcase(name, rule.of)} | _find_rates(rule.of)
        if not named:
            known = ", ".join(kinds)
            raise PromptRefused(
                f"Prompt {prompt}: checks.json names {rule.of!r} at drift[{number}].of, which is none of {known}."
                " Correct it and run again."
            )
        fitting = {measure for kind in named for measure in _MEASURES[kind]}
        for measure in ("psi", "ks", "points"):
            if getattr(rule, measure) is not None and measure not in fitting:
                raise PromptRefused(
                    f'Prompt {prompt}: checks.json gives a limit at drift[{number}].{measure} that "{rule.of}" is never'
                    f" held against; it takes {' or '.join(sorted(fitting))}. Correct it and run again."
                )


def _list_measured(fields: Collection[str], inputs: Collection[str]) -> Iterator[tuple[str, str]]:
    for side, names in (("input", inputs), ("output", fields)):
        for name in names:
            yield f"{side}.{name}", "values"
            yield f"{side}.{name}.length", "length"
    yield from ((f"input.{name}.language", "values") for name in inputs)
    yield from (("answer.length", "length"), ("answer.structure", "values"))
    yield from ((f"rate.{name}", "rate") for name in ("refusals", "hedges", "reasks", "quarantined"))


def _find_rates(pattern: str) -> set[str]:
    """Rates of one class of failure: what follows a class is the rule that found it, which may be any."""
    for kind in ("failed", "quarantined"):
        for failure in set(FailureClass) - (_AS_REFUSALS if kind == "failed" else set()):
            name = f"rate.{kind}.{failure}"
            if fnmatchcase(name, pattern) or (kind == "quarantined" and pattern.startswith(f"{name}.")):
                return {"rate"}
    return set()
