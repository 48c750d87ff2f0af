"""What could not be compared although a limit was declared for it: a limit that nothing is held against is no guard."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase

from overnight.checks import DriftRule
from overnight.report.drift import pair_rates
from overnight.report.gone import count_all
from overnight.report.profile import LEAST, Profile

_N_NAMED = 5
_FEW, _OTHER_KIND = f"fewer than {LEAST} rows in one of them", "not measured, or no category, in one of them"


def tell_uncompared(
    before: Profile, after: Profile, rules: Sequence[DriftRule], told: Collection[str] = ()
) -> str | None:
    """
    What was not compared, and why; None where all was that a limit was declared for.

    Args:
        before: Of the run that was compared with.
        after: Of the run that was judged.
        rules: The limits that were declared.
        told: The things that are told as changes, being gone.
    """
    compared, found = _split(before, after)
    if not compared:
        return f"nothing could be compared: {_FEW}"
    # A name without a pattern that neither run has; a rate that neither has is none of as many in both.
    for rule in rules:
        if not {*"*?["} & {*rule.of} and not rule.of.startswith("rate.") and rule.of not in compared:
            found.setdefault(rule.of, _OTHER_KIND)
    limited = {what: why for what, why in found.items() if what not in told and _is_limited(what, rules)}
    told_by_why = [_tell([w for w in limited if limited[w] == why], why) for why in dict.fromkeys(limited.values())]
    return f"not compared: {'; '.join(told_by_why)}" if limited else None


def _split(before: Profile, after: Profile) -> tuple[set[str], dict[str, str]]:
    """The things that are compared, and those that are not, with the reason."""
    sizes, found = dict(_list_sizes(before, after)), dict[str, str]()
    for what, pair in sizes.items():
        if min(pair) < LEAST:
            is_few = 0 not in pair or min(count_all(before, what), count_all(after, what)) < LEAST
            found[what] = _FEW if is_few else _OTHER_KIND
    return {*sizes} - {*found}, found


def _list_sizes(before: Profile, after: Profile) -> Iterator[tuple[str, tuple[int, int]]]:
    """Of how many rows each thing is on either side; 0 where it is not measured."""
    for what in sorted({*before.counts, *after.counts}):
        yield what, (_size(before, what), _size(after, what))
    for what in sorted({*before.lengths, *after.lengths}):
        yield what, (_size(before, what), _size(after, what))
    yield from ((what, (old.of, new.of)) for what, old, new in pair_rates(before, after))


def _size(profile: Profile, what: str) -> int:
    if what in profile.lengths:
        return len(profile.lengths[what].sample)
    return profile.counts[what].n if what in profile.counts else 0


def _is_limited(what: str, rules: Sequence[DriftRule]) -> bool:
    rule = next((rule for rule in rules if fnmatchcase(what, rule.of)), None)
    return rule is not None and rule.severity != "ignore"


def _tell(names: Sequence[str], why: str) -> str:
    more = f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else ""
    return f"{', '.join(names[:_N_NAMED])}{more} ({why})"
