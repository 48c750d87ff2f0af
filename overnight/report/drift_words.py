"""Changes in words: one line each, for people; names and shares, no text of a row."""

from __future__ import annotations

from statistics import median

from overnight.report.profile import MAX_CATEGORY, RARE, Counts, Lengths, Rate, Spread

#: Values named in one line, and characters of each.
_N_NAMED, _N_CHARS = 3, 40


def tell_share(what: str, value: str, instead: str | None, old: Counts, new: Counts) -> str:
    """As in: output.intent: card_arrival 6.5 % → 0 %; perhaps swallowed: lost_card rose 1.3 % → 7.8 %."""
    line = f"{what}: {_move(value, old, new)}"
    if instead is None:
        return line
    joint = "perhaps swallowed:" if what.startswith("output.") else "in its place"
    return f"{line}; {joint} {_move(instead, old, new, verb=' rose')}"


def tell_mix(what: str, old: Counts, new: Counts, index: float) -> str:
    """The values that moved most; those without a name are one of them."""
    old, new = _pool(old), _pool(new)
    shares = {v: new.values.get(v, 0) / new.n - old.values.get(v, 0) / old.n for v in {*old.values, *new.values}}
    most = sorted(shares, key=lambda v: (-abs(shares[v]), v))[:_N_NAMED]
    moved = ", ".join(_move(value, old, new) for value in most)
    return f"{what}: shares moved, stability index {index:.2f}; most: {moved}"


def tell_spread(what: str, n_known: int, n_before: int, new: Spread) -> str:
    """As in: input.channel: no category any more, 4 different values in 700 rows → 650 in 650."""
    long = f", {new.n_long:,} with more than {MAX_CATEGORY} characters" if new.n_long else ""
    return (
        f"{what}: no category any more, {n_known:,} different values in {n_before:,} rows →"
        f" {new.n_values:,} in {new.n:,}{long}"
    )


def tell_missing(what: str, n: int, n_before: int, n_after: int) -> str:
    """As in: input.channel: missing, in 700 of 700 rows → in none of 650."""
    return f"{what}: missing, in {n:,} of {n_before:,} rows → in none of {n_after:,}"


def tell_lengths(what: str, old: Lengths, new: Lengths, distance: float) -> str:
    """Medians and means: one long text moves only the second."""
    medians = f"median {median(old.sample):,.0f} → {median(new.sample):,.0f}"
    return f"{what}: {medians}, mean {old.mean:,.0f} → {new.mean:,.0f} characters, D {distance:.2f}"


def tell_rate(what: str, old: Rate, new: Rate) -> str:
    """As in: rate.refusals: 0 % of 700 → 5.1 % of 700."""
    return f"{what}: {_percent(old.n, old.of)} of {old.of:,} → {_percent(new.n, new.of)} of {new.of:,}"


def _pool(side: Counts) -> Counts:
    return Counts(side.n, side.values | {RARE: sum(side.rare.values())}) if side.rare else side


def _move(value: str, old: Counts, new: Counts, verb: str = "") -> str:
    name = value if len(value) <= _N_CHARS else value[: _N_CHARS - 1] + "…"
    shares = (_percent(side.values.get(value, 0), side.n) for side in (old, new))
    return f"{name}{verb} {' → '.join(shares)}"


def _percent(n: int, of: int) -> str:
    share = 100 * n / of
    return f"{share:.0f} %" if share in (0, 100) else f"{share:.1f} %"
