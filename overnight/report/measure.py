"""What a run came to, for people: figures, reasons and links, in markdown."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from overnight.ledger import Ledger
from overnight.ledger.manifests import find_batches, find_latest_batches
from overnight.ledger.provider_batch_progress import find_progress
from overnight.ledger.queries import summarize
from overnight.ledger.runs import find_private
from overnight.masking import Veil
from overnight.parts import read_part
from overnight.place import PartsPlace
from overnight.records import Batch, CheckedBatch, CompletedBatch, RowState, Summary
from overnight.report.batches import describe_progress
from overnight.report.docs import find_docs
from overnight.report.kept import describe_drift
from overnight.report.retries import describe_retries
from overnight.report.reviews import describe_reviews
from overnight.report.shadow_line import describe_shadow
from overnight.report.understood import find_answers
from overnight.report.unread import leave_out_unread
from overnight.taxonomy import FailureClass

#: Row ids named beside a reason.
_EXAMPLES = 3


@dataclass(frozen=True)
class Reason:
    """Why rows were quarantined, or are pending."""

    state: str
    failure_class: str
    rule: str
    n_rows: int
    #: One row's reason in words, and the ids of a few rows.
    reason: str
    examples: tuple[str, ...]


@dataclass(frozen=True)
class RunReport:
    """A run's summary with what a person wants to know next."""

    summary: Summary
    reasons: tuple[Reason, ...]
    batch_failures: tuple[str, ...]
    warnings: tuple[str, ...]
    #: What the answers to its review came to, and how its readers have read so far.
    reviews: tuple[str, ...]
    #: Absolute path of the Data Docs, where this machine has them.
    docs: Path | None
    #: What became of its quarantined rows in retries, or whose rows it retries itself.
    retries: tuple[str, ...] = ()
    #: Which run each step was compared with, and whether anything changed.
    compared: tuple[str, ...] = ()
    #: Where else they are, in words.
    docs_elsewhere: str | None = None
    #: What came of its shadow run.
    shadow: str | None = None
    #: How far its provider batches are, where any is open.
    batches: str | None = None


def measure(run_id: str, *, ledger: Ledger, place: PartsPlace, now: float, home: Path | None = None) -> RunReport:
    """
    Gather what the ledger and the parts say of a run; of parts that are gone, the ledger alone.

    Args:
        run_id: The run.
        ledger: Where it is recorded.
        place: Where the parts are.
        now: Seconds since the epoch.
        home: Where Data Docs are; None: it is not told.
    """
    with ledger.reading() as connection:
        summary = summarize(connection, run_id, now)
        batches = find_batches(connection, run_id, CheckedBatch)
        latest = find_latest_batches(connection, run_id)
        reviews = describe_reviews(connection, run_id)
        pinned = find_batches(connection, run_id, Batch, step=1)
        private = find_private(connection, run_id)
        retries = describe_retries(connection, run_id)
        compared, changes = describe_drift(connection, run_id)
        shadow = describe_shadow(connection, run_id)
        batched = find_progress(connection, [run_id]).get(run_id)
        latest, unread = leave_out_unread(connection, run_id, latest, place)
    docs, elsewhere = find_docs(batches, home)
    reasons = _count_reasons(list(latest.values()), place, private, ledger)
    n_masked = sum(batch.n_masked for batch in pinned)
    unknown = [*([tell_masked(n_masked)] if n_masked else []), *map(_warn, _find_unknown(reasons))]
    told = [warning for batch in batches for warning in batch.warnings]
    return RunReport(
        summary=summary,
        reasons=reasons,
        batch_failures=tuple(dict.fromkeys(line for b in batches for line in b.batch_failures)),
        warnings=tuple(dict.fromkeys([*unread, *unknown, *told, *changes])),
        reviews=reviews,
        docs=docs,
        retries=retries,
        compared=compared,
        shadow=shadow,
        docs_elsewhere=elsewhere,
        batches=describe_progress(batched, now) if batched else None,
    )


def tell_masked(n_rows: int) -> str:
    """That a source has secrets in it: whoever owns it should know."""
    held = "1 row held" if n_rows == 1 else f"{n_rows:,} rows held"
    return f"{held} what looks like a key; it was removed before anything was recorded or asked. Clean the source."


def _find_unknown(reasons: tuple[Reason, ...]) -> list[Reason]:
    return [r for r in reasons if r.failure_class == FailureClass.UNKNOWN_STOP]


def _warn(unknown: Reason) -> str:
    return (
        f"{unknown.n_rows:,} rows stopped for a reason that this version does not know: {unknown.reason} Their answers"
        " were not used. Look at what the provider has changed, and upgrade overnight."
    )


def _count_reasons(
    batches: list[Batch | CompletedBatch | CheckedBatch],
    place: PartsPlace,
    private: Mapping[int, Sequence[str]],
    ledger: Ledger,
) -> tuple[Reason, ...]:
    counts: Counter[tuple[str, str, str]] = Counter()
    examples: dict[tuple[str, str, str], list[str]] = {}
    first: dict[tuple[str, str, str], tuple[dict[str, Any], Sequence[str]]] = {}
    for batch in batches:
        for row in read_part(batch.part, place).to_pylist():
            if row["state"] == RowState.ACCEPTED or not row["reason"]:
                continue
            key = (row["state"], row["failure_class"] or "", row["rule"] or "")
            counts[key] += 1
            if len(named := examples.setdefault(key, [])) < _EXAMPLES:
                named.append(row["row_id"])
            first.setdefault(key, (row, private.get(batch.step, ())))
    said = dict(zip(first, _hide_reasons(list(first.values()), ledger), strict=True))
    return tuple(Reason(*key, n, said[key], tuple(examples[key])) for key, n in counts.most_common())


def _hide_reasons(rows: Sequence[tuple[Mapping[str, Any], Sequence[str]]], ledger: Ledger) -> list[str]:
    """Why rows of parts were set aside, without what is private in each: of the refused answer too, in no part."""
    keys = [row["request_key"] for row, private in rows if private and row["request_key"]]
    with ledger.reading() as connection:
        answers = find_answers(connection, keys) if keys else {}
    return [hide_reason(row, private, answers.get(row["request_key"])) for row, private in rows]


def hide_reason(row: Mapping[str, Any], private: Sequence[str], answer: Mapping[str, Any] | None) -> str:
    """Why a row of a part was set aside, without its private values; its answer is given where the part has none."""
    given, output = (orjson.loads(row[name] or "null") for name in ("input", "output"))
    return Veil(private, given, output or answer).hide_text(row["reason"]) if private else str(row["reason"])


def render_markdown(report: RunReport) -> str:
    """The report as markdown; what came from rows or models is escaped."""
    s = report.summary
    cost = "unknown price" if s.cost_usd is None else f"{s.cost_usd:.4f} USD"
    lines = [
        f"# Run {s.run_id}: {s.state}",
        "",
        "| rows | accepted | quarantined | pending | held | published |",
        "|---|---|---|---|---|---|",
        f"| {s.rows:,} | {s.accepted:,} | {s.quarantined:,} | {s.pending:,} | {s.held:,} | {s.published:,} |",
        "",
        (
            f"{s.hits:,} hits, {s.calls:,} calls, {s.input_tokens:,} tokens in, {s.output_tokens:,} out, {cost},"
            f" {s.seconds:.1f} s."
        ),
        *_reasons_table(report.reasons),
        *_section("Rules of the batch that failed: they hold the run", report.batch_failures),
        *_section("Warnings", report.warnings),
        *_section("Retries", report.retries),
        *_section("Compared with the last approved run", report.compared),
        *_section("Review", report.reviews),
        *_section("Shadow run", (report.shadow,) if report.shadow else ()),
    ]
    if report.docs:
        lines += ["", f"Data Docs: `{report.docs}`"]
    if report.docs_elsewhere:
        lines += ["", f"Data Docs: {report.docs_elsewhere}"]
    return "\n".join(lines)


def _reasons_table(reasons: tuple[Reason, ...]) -> list[str]:
    if not reasons:
        return []
    lines = [
        "",
        "## Set aside",
        "",
        "| rows | state | class | reason of the first | for example |",
        "|---|---|---|---|---|",
    ]
    for r in reasons:
        examples = ", ".join(escape_markdown(row_id) for row_id in r.examples)
        lines.append(f"| {r.n_rows:,} | {r.state} | {r.failure_class} | {escape_markdown(r.reason)} | {examples} |")
    return lines


def escape_markdown(text: str) -> str:
    """Text from a row or a model as inert markdown: no links, images, tables or HTML come of it."""
    flat = html.escape(re.sub(r"\s+", " ", text), quote=False)
    # The last three: viewers make links of addresses that stand in a text as they are.
    return re.sub(r"([\\`*_{}\[\]()#!|~]|:(?=//)|(?<=www)\.|@)", r"\\\1", flat, flags=re.IGNORECASE)


def escape_field(text: str) -> str:
    """As `escape_markdown`, where it may be shown as plain text too: only what would make a link, an image or HTML."""
    return re.sub(r"([\\`\[\]<]|:(?=//))", r"\\\1", re.sub(r"\s+", " ", text))


def _section(title: str, lines: tuple[str, ...]) -> list[str]:
    return ["", f"## {title}", "", *(f"- {escape_markdown(line)}" for line in lines)] if lines else []
