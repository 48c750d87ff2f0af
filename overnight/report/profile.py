"""What the inputs and outputs of a step are like, as distributions: no text of a row is in them."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Rows whose lengths are kept one by one, and rows whose language is told.
N_LENGTHS = 2_000
N_LANGUAGES = 1_000
#: Rows of which it is told how many different values a column has that is no category.
N_SPREAD = 2_000
#: With fewer rows on either side nothing is compared.
LEAST = 20
#: Values of one column that are told apart; a column with more of them is no category.
MAX_VALUES = 200
#: Characters of a value; a column with longer ones is no category.
MAX_CATEGORY = 40
#: A value of an input is kept by name where so many rows share it: then it names nobody.
MIN_SHARED = 5
#: Stands for all values that are not kept by name, in words and in profiles from before they had numbers.
RARE = "(rare)"


@dataclass(frozen=True)
class Counts:
    """How often each value of few came."""

    n: int
    values: dict[str, int]
    #: Of the values that are not kept by name, by the number that stands for each: n = those of `values` + these.
    rare: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """How many different values a column has that is no category, of a sample of rows."""

    n: int
    #: Too long ones are not among them.
    n_values: int
    #: Rows whose value is too long.
    n_long: int


@dataclass(frozen=True)
class Lengths:
    """How long texts are, in characters."""

    n: int
    #: How many fall into each bin of `shape.LENGTH_BINS`, by the bin's least length, as text.
    bins: dict[str, int]
    #: Of `N_LENGTHS` rows at most, chosen by their ids and inputs: the same rows give the same sample.
    sample: list[int]
    mean: float


@dataclass(frozen=True)
class Rate:
    """So many of so many."""

    n: int
    of: int


@dataclass(frozen=True)
class Profile:
    """
    What a step took and gave, by name.

    Inputs are of all rows that could be read, outputs of accepted ones. Of a private field only lengths are kept.
    """

    #: "output.intent", "input.category", "input.query.language", "answer.structure".
    counts: dict[str, Counts] = field(default_factory=dict)
    #: "input.query", where it is no category.
    spreads: dict[str, Spread] = field(default_factory=dict)
    #: "input.query.length", "output.evidence.length", "answer.length".
    lengths: dict[str, Lengths] = field(default_factory=dict)
    #: "rate.refusals", "rate.hedges", "rate.reasks", "rate.quarantined", "rate.failed.CLASS", "rate.quarantined.CLASS".
    rates: dict[str, Rate] = field(default_factory=dict)
