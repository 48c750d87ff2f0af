"""What a comparison names: a run, a prompt's version, or a model; and where its rows are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import orjson
import sqlalchemy as sa

from overnight.failures import OvernightError, PromptRefused
from overnight.ledger.asked import PromptVersion
from overnight.ledger.comparing import get_version, list_asked_versions
from overnight.ledger.manifests import find_batches
from overnight.ledger.queries import find_run
from overnight.ledger.runs import find_private
from overnight.ledger.shadows import find_private_beside
from overnight.llm import parse_model
from overnight.prompts import parse_prompt
from overnight.records import CheckedBatch, CompletedBatch

_NO_CHECKS = '{"row": [], "batch": []}'
_HASH = re.compile(r"[0-9a-f]{8,64}")
#: Of a prompt's versions, newest first.
_TURNS = {"last": 0, "previous": 1}

Asked = CompletedBatch | CheckedBatch


@dataclass(frozen=True)
class Side:
    """One of two that are compared."""

    #: As it was named.
    name: str
    version: PromptVersion
    #: Fields of its output, in order, and those of them that are labels.
    fields: tuple[str, ...]
    labels: frozenset[str]
    #: Inputs and fields whose values are not shown.
    private: frozenset[str]
    run_id: str | None = None
    step: int | None = None
    is_shadow: bool = False
    #: Of a run: its rows, as of the last stage that they reached.
    batches: tuple[Asked, ...] = ()


def find_sides(
    connection: sa.Connection, a: str, b: str, *, prompt_name: str | None, step: int | None
) -> tuple[Side, Side]:
    """
    What the two names mean.

    Args:
        connection: To the ledger.
        a: A run's id, a prompt hash or its beginning, NAME@last, NAME@previous, or PROVIDER:NAME.
        b: The same.
        prompt_name: Where a model is named that has answered several prompts: which.
        step: Of runs; None: the last.

    Raises:
        OvernightError: A name means nothing, or several things.
    """
    sides = [_find_side(connection, name, prompt_name, step) for name in (a, b)]
    if step is None and (shadowed := next((s.step for s in sides if s.is_shadow), None)):
        # It was asked the rows of one step, which need not be the last.
        sides = [_find_side(connection, name, prompt_name, shadowed) for name in (a, b)]
    # The rules of a batch judge no shadow: with one the other is taken as it stood before them.
    if any(side.is_shadow for side in sides):
        sides = [_take_completed(connection, side) for side in sides]
    return sides[0], sides[1]


def _find_side(connection: sa.Connection, name: str, prompt_name: str | None, step: int | None) -> Side:
    if run := find_run(connection, name):
        return _make_run(connection, name, step, is_shadow=run["kind"] == "shadow")
    if _HASH.fullmatch(name):
        return _pick(connection, name, list_asked_versions(connection, beginning=name), 0, several=True)
    prompt, _, turn = name.partition("@")
    if turn in _TURNS:
        return _pick(connection, name, list_asked_versions(connection, name=prompt), _TURNS[turn])
    if ":" in name:
        return _find_model(connection, name, prompt_name)
    raise OvernightError(
        f"{name!r} is no run, and no NAME@last or NAME@previous of a prompt, prompt hash of at least 8 digits, or model"
        " PROVIDER:NAME either. `overnight runs` lists the runs."
    )


def _find_model(connection: sa.Connection, name: str, prompt_name: str | None) -> Side:
    versions = list_asked_versions(connection, name=prompt_name, model=str(parse_model(name)))
    names = sorted({version.name for version in versions})
    if len(names) > 1:
        raise OvernightError(f"{name} has answered the prompts {', '.join(names)}. Say which: --prompt {names[0]}.")
    return _pick(connection, name, versions, 0)


def _pick(
    connection: sa.Connection, name: str, versions: list[PromptVersion], turn: int, *, several: bool = False
) -> Side:
    if several and len(versions) > 1:
        raise OvernightError(f"{name} begins the hashes of {len(versions)} prompts. Give more of it.")
    if len(versions) <= turn:
        raise OvernightError(
            f"{name} was never asked: the ledger has {len(versions)} such prompts. `overnight why ROW` has the hash of"
            " the prompt that a row was asked."
        )
    version = get_version(connection, versions[turn].prompt_hash)
    return _make_side(name, version, find_private_beside(connection, version.prompt_hash))


def _make_run(connection: sa.Connection, run_id: str, step: int | None, *, is_shadow: bool) -> Side:
    completed = find_batches(connection, run_id, CompletedBatch)
    step = step or max((batch.step for batch in completed), default=1)
    taken = {batch.n: batch for batch in completed if batch.step == step}
    if not taken:
        raise OvernightError(f"Run {run_id} has asked nothing in step {step}: there is nothing to compare.")
    latest: dict[int, Asked] = taken | {b.n: b for b in find_batches(connection, run_id, CheckedBatch, step=step)}
    declared = frozenset(find_private(connection, run_id).get(step, ()))
    side = _make_side(run_id, get_version(connection, next(iter(taken.values())).prompt_hash), declared)
    batches = tuple(latest[n] for n in sorted(latest))
    return replace(side, run_id=run_id, step=step, is_shadow=is_shadow, batches=batches)


def _take_completed(connection: sa.Connection, side: Side) -> Side:
    if side.run_id is None:
        return side
    return replace(side, batches=tuple(find_batches(connection, side.run_id, CompletedBatch, step=side.step)))


def _make_side(name: str, version: PromptVersion, private: frozenset[str]) -> Side:
    """The side; what is private besides what its own prompt declares."""
    properties = orjson.loads(version.schema).get("properties", {})
    labels = frozenset(field for field, kind in properties.items() if _is_label(kind))
    return Side(name, version, tuple(properties), labels, private.union(_find_private(version)))


def _is_label(kind: object) -> bool:
    if not isinstance(kind, dict):
        return False
    return "enum" in kind or kind.get("type") == "boolean" or any(map(_is_label, kind.get("anyOf", ())))


def _find_private(version: PromptVersion) -> Iterator[str]:
    try:
        yield from parse_prompt(version.name, text=version.text, schema=version.schema, checks=_NO_CHECKS).private
    except PromptRefused:
        # Its text is none that today's rules can read: what it declared is not known, so all of it is private.
        yield from orjson.loads(version.schema).get("properties", {})


def describe_side(side: Side) -> str:
    """The side with what answered it."""
    what = f"{side.version.name} {side.version.prompt_hash[:12]}, {side.version.model}"
    if side.run_id is None:
        return f"{what} at {side.version.endpoint}"
    step = f" step {side.step}," if side.step != 1 else ""
    return f"run {side.run_id},{step} {what}"
