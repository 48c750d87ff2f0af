"""Rows of a step, one after the other → its profile; nothing is kept but counts and a bounded sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

from overnight.approve.seeds.labels import find_enum, get_facts
from overnight.checks.hedges import find_hedge
from overnight.checks.language import find_language
from overnight.records import Prompt, RowState
from overnight.report.column import Column
from overnight.report.profile import (
    MAX_VALUES,
    N_LANGUAGES,
    N_LENGTHS,
    Counts,
    Lengths,
    Profile,
    Rate,
    Spread,
)
from overnight.report.rare import find_number
from overnight.report.sampling import Sample, find_place
from overnight.report.shape import LENGTH_BINS, describe_shape, find_bin

#: Rows whose texts are searched for hedges; requests that are followed through earlier runs.
N_FOLLOWED = 20_000
#: Of longer texts the language is told from their beginning.
_MAX_READ = 1_000
#: Of a request's key, as many as place it among all.
_N_DIGITS = 12


class Profiler:
    """
    Takes the rows of a step in.

    Args:
        prompt: Whose rows they are.
        n_rows: How many there will be: it decides which of them are in a sample.
    """

    def __init__(self, prompt: Prompt, n_rows: int) -> None:
        schema = orjson.loads(prompt.schema)
        self._private = frozenset(prompt.private)
        self._labels = {
            name
            for name in schema.get("properties", {})
            if name not in self._private
            and (find_enum(schema, name) or get_facts(schema, name).get("type") == "boolean")
        }
        self._n_rows = max(n_rows, 1)
        self._followed: set[str] = set()
        self._columns: dict[str, Column] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._uncommon: dict[str, Counter[str]] = {}
        self._languages: dict[str, Sample[str | None]] = {}
        self._lengths: dict[str, _Lengths] = {}
        self._hedges: Sample[bool] = Sample(N_FOLLOWED, n_rows)
        self._quarantined: Counter[str] = Counter()
        self.n_accepted = self.n_seen = 0
        #: Rows that were set aside, by "CLASS" or "CLASS: RULE"; and accepted ones that a rule warned of.
        self.set_aside: Counter[str] = Counter()
        self.warned: Counter[str] = Counter()

    @property
    def hedges(self) -> Rate:
        """Of the accepted rows that were searched, those with a hedge in a text."""
        found = self._hedges.values
        return Rate(sum(found), len(found))

    @property
    def keys(self) -> list[str]:
        """Of the requests that are followed, each once however many rows share it."""
        return sorted(self._followed)

    def take(self, row: Mapping[str, Any]) -> None:
        """One row of a part; only some of its columns are looked at."""
        self.n_seen += 1
        place = find_place(row["row_id"], row["input"])
        self._follow(row["request_key"])
        if row["input"] is not None:
            self._take_input(orjson.loads(row["input"]), place)
        if row["state"] == RowState.QUARANTINED:
            self._take_refused(row["failure_class"] or "unknown", row["rule"])
        elif row["state"] == RowState.ACCEPTED and row["output"] is not None:
            self.n_accepted += 1
            self.warned.update([row["rule"]] if row["rule"] else [])
            self._take_output(orjson.loads(row["output"]), row["output"], place)

    def finish(self, rates: Mapping[str, Rate]) -> Profile:
        """The profile; with the rates that were counted elsewhere."""
        counts = {name: _keep(found, self._uncommon.get(name)) for name, found in self._counts.items()}
        languages = {name: Counter(filter(None, found.values)) for name, found in self._languages.items()}
        counts |= {f"{name}.language": _keep(found) for name, found in languages.items() if found}
        columns = {name: found.keep(name) for name, found in self._columns.items()}
        counts |= {name: found for name, found in columns.items() if isinstance(found, Counts)}
        quarantined = {"rate.quarantined": self._quarantined.total()}
        quarantined |= {f"rate.quarantined.{name}": n for name, n in self._quarantined.items()}
        return Profile(
            counts=counts,
            spreads={name: found for name, found in columns.items() if isinstance(found, Spread)},
            lengths={name: found.keep() for name, found in self._lengths.items()},
            rates={
                **rates,
                "rate.hedges": self.hedges,
                **{name: Rate(n, self.n_seen) for name, n in quarantined.items()},
            },
        )

    def _follow(self, key: str | None) -> None:
        """By the key alone: what is told of requests is told of different ones."""
        if key and int(key[:_N_DIGITS], 16) * self._n_rows < N_FOLLOWED * 16**_N_DIGITS:
            self._followed.add(key)

    def _take_refused(self, failure: str, rule: str | None) -> None:
        self.set_aside[f"{failure}: {rule}" if rule else failure] += 1
        self._quarantined[f"{failure}.{rule}" if rule else failure] += 1

    def _take_input(self, given: Mapping[str, Any], place: float) -> None:
        for name, value in given.items():
            what = f"input.{name}"
            if isinstance(value, str):
                self._measure(f"{what}.length", len(value), place)
            if name in self._private or isinstance(value, dict | list):
                continue
            if what not in self._columns:
                self._columns[what] = Column(self._n_rows)
            self._columns[what].take(value, place)
            if isinstance(value, str):
                self._take_language(what, value, place)

    def _take_language(self, what: str, text: str, place: float) -> None:
        if what not in self._languages:
            self._languages[what] = Sample(N_LANGUAGES, self._n_rows)
        if self._languages[what].wants(place):
            self._languages[what].take(place, find_language(text[:_MAX_READ]))

    def _take_output(self, output: Mapping[str, Any], text: str, place: float) -> None:
        self._measure("answer.length", len(text), place)
        self._count("answer.structure", describe_shape(output))
        texts = []
        for name, value in output.items():
            if name in self._labels:
                self._count(f"output.{name}", value if isinstance(value, str) else orjson.dumps(value).decode())
            elif isinstance(value, str):
                texts.append(value)
                self._measure(f"output.{name}.length", len(value), place)
        if self._hedges.wants(place):
            self._hedges.take(place, any(find_hedge(one, None) for one in texts))

    def _count(self, what: str, value: str) -> None:
        found = self._counts.setdefault(what, Counter())
        if value in found or len(found) < MAX_VALUES:
            found[value] += 1
        else:
            self._uncommon.setdefault(what, Counter())[find_number(what, value)] += 1

    def _measure(self, what: str, length: int, place: float) -> None:
        if what not in self._lengths:
            self._lengths[what] = _Lengths(self._n_rows)
        self._lengths[what].take(length, place)


class _Lengths:
    def __init__(self, n_rows: int) -> None:
        self._n = self._total = 0
        self._bins: Counter[int] = Counter()
        self._sample: Sample[int] = Sample(N_LENGTHS, n_rows)

    def take(self, length: int, place: float) -> None:
        self._n += 1
        self._total += length
        self._bins[find_bin(length)] += 1
        if self._sample.wants(place):
            self._sample.take(place, length)

    def keep(self) -> Lengths:
        bins = {str(LENGTH_BINS[at]): self._bins[at] for at in sorted(self._bins)}
        return Lengths(self._n, bins, sorted(self._sample.values), round(self._total / max(self._n, 1), 2))


def _keep(found: Counter[str], uncommon: Counter[str] | None = None) -> Counts:
    rare = uncommon or Counter()
    return Counts(found.total() + rare.total(), dict(sorted(found.items())), dict(sorted(rare.items())))
