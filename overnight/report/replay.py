"""A replay for people: what was answered then and now, field by field, and what each took."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from overnight.complete.recorded import Answer, Recorded
from overnight.complete.replay import Replay
from overnight.keys import canonical_json
from overnight.masking import Veil
from overnight.report.text import find_width, show_value


def as_object(replay: Replay, *, show_private: bool = False) -> dict[str, Any]:
    """The one object that `--json` prints."""
    recorded = replay.recorded
    return {
        "request_key": recorded.key,
        "prompt": replay.prompt.name,
        "prompt_hash": replay.prompt.prompt_hash,
        "model": replay.prompt.model,
        "endpoint": replay.prompt.endpoint,
        "same_request": replay.is_same_request,
        "judged_by_run": recorded.checks_of,
        "recorded": _as_object(recorded.answer, replay, show_private)
        | {"prompt_hash": recorded.prompt.prompt_hash, "model": recorded.other_model or recorded.prompt.model}
        | {"cause": recorded.cause},
        "answers": [_as_object(answer, replay, show_private) for answer in replay.answers],
        "fields": {name: {"same": n, "of": len(replay.answers)} for name, n in count_agreed(replay).items()},
    }


def count_agreed(replay: Replay) -> dict[str, int]:
    """By field: how many of the answers have the recorded value; one that is no answer has none."""
    then = replay.recorded.answer.output or {}
    fields = dict.fromkeys([*then, *(name for a in replay.answers for name in a.output or {})])
    return {name: sum(_is_same(a, then, name) for a in replay.answers) for name in fields}


def describe(replay: Replay, *, show_private: bool = False) -> str:
    """The same in words, at the width of the terminal."""
    recorded, n = replay.recorded, len(replay.answers)
    lines = [
        f"request {recorded.key}",
        *_wrap(f"recorded: {recorded.prompt.name} {recorded.prompt.prompt_hash[:12]}, {_name_model(recorded)}", "  "),
        *_wrap(f"now:      {_describe_request(replay)}", "  "),
        f"  answered {n} {'time' if n == 1 else 'times'}; kept as replays, which are never published",
        *_describe_cause(recorded),
        *_describe_judges(recorded),
        "",
        *_describe_fields(replay, show_private),
        *_describe_failures(replay, show_private),
        "",
        *_describe_costs(
            [("recorded", recorded.answer), *((f"replay {i}", a) for i, a in enumerate(replay.answers, 1))]
        ),
    ]
    return "\n".join(lines)


def _describe_request(replay: Replay) -> str:
    if replay.is_same_request:
        return f"the same {len(replay.recorded.body):,} bytes to {replay.prompt.model} at {replay.prompt.endpoint}"
    name = f"{replay.prompt.name} {replay.prompt.prompt_hash[:12]}"
    return f"{name} to {replay.prompt.model} at {replay.prompt.endpoint}"


def _name_model(recorded: Recorded) -> str:
    return recorded.other_model or recorded.prompt.model


def _describe_cause(recorded: Recorded) -> list[str]:
    if not recorded.is_settled:
        return ["  There is no recorded answer: the last attempt failed, and the row was left."]
    if recorded.cause in (None, "first", "again"):
        return []
    return _wrap(
        f"The recorded answer came when it was asked otherwise ({recorded.cause}); what is sent here is the request as"
        " it was first asked.", "  "
    )  # fmt: skip


def _describe_judges(recorded: Recorded) -> list[str]:
    if recorded.checks_of is None:
        return ["  No run is known that asked it: judged by the schema alone."]
    return []


def _describe_fields(replay: Replay, show_private: bool) -> list[str]:
    then, n = replay.recorded.answer, len(replay.answers)
    agreed = count_agreed(replay)
    width = max((len(name) for name in agreed), default=0)
    lines: list[str] = []
    for name, n_same in agreed.items():
        told = ("same" if n_same == n else "different") if n == 1 else f"same {n_same} of {n}"
        lines.append(f"{name.ljust(width)}  {told}")
        values = [("then", then)] + [(f"now {i}" if n > 1 else "now", a) for i, a in enumerate(replay.answers, 1)]
        shown: list[tuple[list[str], str]] = []
        for when, answer in values:
            text = _show_field(replay, answer, name, show_private)
            if shown and shown[-1][1] == text:
                shown[-1][0].append(when)
            else:
                shown.append(([when], text))
        lines += [line for whens, text in shown for line in _wrap(f"{_join(whens)}: {text}", "    ")]
    return lines


def _join(whens: Sequence[str]) -> str:
    return ", ".join(whens)


def _show_field(replay: Replay, answer: Answer, name: str, show_private: bool) -> str:
    output = _hide(answer, replay, show_private)
    return "(no answer)" if output is None else show_value(output.get(name)) if name in output else "(no such field)"


def _describe_failures(replay: Replay, show_private: bool) -> list[str]:
    told = [("recorded", replay.recorded.answer)]
    told += [(f"replay {i}", answer) for i, answer in enumerate(replay.answers, 1)]
    lines = []
    for who, answer in told:
        if answer.failure_class:
            reason = _veil(replay, answer, show_private).hide_text(answer.reason or "")
            lines += _wrap(f"{who} failed, {answer.failure_class}: {show_value(reason)}", "")
    return ["", *lines] if lines else []


def _describe_costs(answers: Sequence[tuple[str, Answer]]) -> list[str]:
    lines = [f"{'':10} {'tokens in':>9} {'out':>7} {'USD':>10} {'seconds':>8}  model served"]
    for who, a in answers:
        cost = "?" if a.cost_usd is None else f"{a.cost_usd:.6f}"
        took = "?" if a.latency_s is None else f"{a.latency_s:.2f}"
        again = f", sent {a.n_sends} times" if a.n_sends > 1 else ""
        counts = f"{_count(a.input_tokens):>9} {_count(a.output_tokens):>7} {cost:>10} {took:>8}"
        line = f"{who:10} {counts}  {show_value(a.model_served or '?')}{again}"
        lines += textwrap.wrap(line, find_width(), subsequent_indent="    ")
    return lines


def _count(n: int | None) -> str:
    return "?" if n is None else f"{n:,}"


def _is_same(answer: Answer, then: Mapping[str, Any], name: str) -> bool:
    now = answer.output or {}
    return name in then and name in now and canonical_json(then[name]) == canonical_json(now[name])


def _as_object(answer: Answer, replay: Replay, show_private: bool) -> dict[str, Any]:
    veil = _veil(replay, answer, show_private)
    return asdict(answer) | {
        "output": _hide(answer, replay, show_private),
        "reason": veil.hide_text(answer.reason) if answer.reason else None,
    }


def _hide(answer: Answer, replay: Replay, show_private: bool) -> dict[str, Any] | None:
    if answer.output is None:
        return None
    return _veil(replay, answer, show_private).hide_output(answer.output)


def _veil(replay: Replay, answer: Answer, show_private: bool) -> Veil:
    private = () if show_private else {*replay.recorded.private, *replay.prompt.private}
    return Veil(private, replay.recorded.given, answer.output)


def _wrap(text: str, indent: str) -> list[str]:
    flat = " ".join(text.split())
    return textwrap.wrap(flat, find_width(), initial_indent=indent, subsequent_indent=indent + "  ") or [indent]
