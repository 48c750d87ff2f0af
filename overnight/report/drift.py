"""What changed from one run to another: large enough to matter, and too clear to be chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from overnight.checks import DriftLimit, DriftRule, find_limit
from overnight.report.change import Change
from overnight.report.drift_words import tell_lengths, tell_mix, tell_rate, tell_share
from overnight.report.gone import compare_gone
from overnight.report.likelihood import judge_counts, judge_lengths, judge_shares, measure_psi, pool_rare
from overnight.report.profile import LEAST, RARE, Counts, Profile, Rate
from overnight.report.rare import list_all, match

#: All tests of a comparison together may err so often where nothing has changed.
ALPHA = 0.001
#: A share that doubled or halved counts from this part of its limit in points: a label of 2 % that is gone is one.
_PART_OF_LIMIT = 0.25
_FOLD = 2.0
_MAX_P = 0.01


@dataclass(frozen=True)
class _Found:
    """A difference before anybody asks whether it is chance."""

    what: str
    measure: Literal["psi", "ks", "share", "rate", "gone"]
    value: float
    p: float
    n_before: int
    n_after: int
    words: str
    of: str | None = None
    instead: str | None = None
    #: What the value is held against where that is not the limit as it was declared.
    factor: float = 1.0


def compare_profiles(before: Profile, after: Profile, rules: Sequence[DriftRule] = ()) -> list[Change]:
    """
    The changes over their limits, the most certain first.

    Args:
        before: Of the run that is compared with.
        after: Of the run that is judged.
        rules: The limits that were declared; others hold for what they do not name.
    """
    found = [*_compare_counts(before, after), *_compare_lengths(before, after), *_compare_rates(before, after)]
    found += [_Found(g.what, "gone", g.value, g.p, g.n_before, g.n_after, g.words) for g in compare_gone(before, after)]
    # Bonferroni: with a hundred labels one of them is always unusual.
    found = [replace(f, p=min(1.0, f.p * len(found))) for f in found]
    judged = [_judge(f, find_limit(rules, f.what)) for f in found]
    changes = [change for change in judged if change is not None]
    taken = {(c.what, c.instead) for c in changes if c.instead}
    # A label that rose because it swallowed another is told with that one.
    return sorted((c for c in changes if (c.what, c.of) not in taken), key=lambda c: (c.what, c.measure, c.p))


def measure_distances(before: Profile, after: Profile) -> list[tuple[str, str, float]]:
    """How far each distribution of one run is from the other's, whatever the limits: what, "psi" or "ks", and value."""
    found = [*_compare_counts(before, after), *_compare_lengths(before, after)]
    return [(f.what, f.measure, max(0.0, f.value)) for f in found if f.measure in ("psi", "ks")]


def _judge(found: _Found, limit: DriftLimit) -> Change | None:
    bound = {"psi": limit.psi, "ks": limit.ks}.get(found.measure, limit.points) * found.factor
    if limit.severity == "ignore" or found.p >= ALPHA or abs(found.value) < bound:
        return None
    return Change(
        what=found.what,
        measure=found.measure,
        value=round(found.value, 4),
        limit=bound,
        severity=limit.severity,
        n_before=found.n_before,
        n_after=found.n_after,
        p=found.p,
        of=found.of,
        instead=found.instead,
        words=found.words,
    )


def _compare_counts(before: Profile, after: Profile) -> Iterator[_Found]:
    for what in sorted({*before.counts} & {*after.counts}):
        old, new = before.counts[what], after.counts[what]
        if min(old.n, new.n) < LEAST:
            continue
        old, new = match(what, old, new)
        pairs = pool_rare(list_all(old), list_all(new))
        if len(pairs) > 1:
            value = measure_psi(pairs)
            yield _Found(what, "psi", value, judge_counts(pairs), old.n, new.n, tell_mix(what, old, new, value))
        yield from _compare_shares(what, old, new)


def _compare_shares(what: str, old: Counts, new: Counts) -> Iterator[_Found]:
    values = sorted({*old.values, *new.values} - {RARE})
    chances = {v: judge_shares((old.values.get(v, 0), old.n), (new.values.get(v, 0), new.n)) for v in values}
    moved = {v: 100 * (new.values.get(v, 0) / new.n - old.values.get(v, 0) / old.n) for v in values}
    for value in values:
        instead = _find_swallower(value, moved, chances)
        yield _Found(
            what=what,
            measure="share",
            value=moved[value],
            p=chances[value],
            n_before=old.n,
            n_after=new.n,
            words=tell_share(what, value, instead, old, new),
            of=value,
            instead=instead,
            factor=_PART_OF_LIMIT
            if _is_fold(old.values.get(value, 0) / old.n, new.values.get(value, 0) / new.n)
            else 1,
        )


def _is_fold(old: float, new: float) -> bool:
    return max(old, new) >= _FOLD * min(old, new)


def _find_swallower(value: str, moved: dict[str, float], chances: dict[str, float]) -> str | None:
    """Of a value that fell, the one that rose most nearly by as much, where chance hardly explains its rise."""
    rose = {v: by for v, by in moved.items() if by > 0 and chances[v] < _MAX_P and by >= -moved[value] / 2}
    return min(rose, key=lambda v: abs(rose[v] + moved[value])) if moved[value] < 0 and rose else None


def _compare_lengths(before: Profile, after: Profile) -> Iterator[_Found]:
    for what in sorted({*before.lengths} & {*after.lengths}):
        old, new = before.lengths[what], after.lengths[what]
        column = what.removesuffix(".length")
        if column in before.counts and column in after.counts:
            continue  # of a category the values themselves are compared
        if min(len(old.sample), len(new.sample)) < LEAST:
            continue
        value, p = judge_lengths(old.sample, new.sample)
        yield _Found(what, "ks", value, p, len(old.sample), len(new.sample), tell_lengths(what, old, new, value))


def _compare_rates(before: Profile, after: Profile) -> Iterator[_Found]:
    for what, old, new in pair_rates(before, after):
        if min(old.of, new.of) < LEAST:
            continue
        value = 100 * (new.n / new.of - old.n / old.of)
        p = judge_shares((old.n, old.of), (new.n, new.of))
        yield _Found(what, "rate", value, p, old.of, new.of, tell_rate(what, old, new))


def pair_rates(before: Profile, after: Profile) -> Iterator[tuple[str, Rate, Rate]]:
    """Each rate of either side with that of the other: of a class that nothing failed with it is 0."""
    wholes = _find_wholes(before), _find_wholes(after)
    for what in sorted({*before.rates, *after.rates}):
        yield what, _find_rate(before, what, wholes[0]), _find_rate(after, what, wholes[1])


def _find_wholes(profile: Profile) -> dict[str, int]:
    """Of how many the rates of a kind are: a class that nothing failed with is not listed."""
    sent = profile.rates.get("rate.refusals", Rate(0, 0)).of
    return {"rate.failed": sent, "rate.quarantined": profile.rates.get("rate.quarantined", Rate(0, 0)).of}


def _find_rate(profile: Profile, what: str, wholes: dict[str, int]) -> Rate:
    kind = ".".join(what.split(".")[:2])
    return profile.rates.get(what) or Rate(0, wholes.get(kind, 0))
