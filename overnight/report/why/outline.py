"""What was recorded of a row, in the order in which it happened, as a tree of words."""

from __future__ import annotations

from typing import Any

from overnight.report.why.asked import tell_asked, tell_prompt, tell_since
from overnight.report.why.nodes import Node, Text, Tone
from overnight.report.why.offered import tell_release
from overnight.report.why.words import tell_time, write_out

_TONES: dict[str, Tone] = {"accepted": "good", "quarantined": "bad", "pending": "wait"}
_RESULTS: dict[str, str] = {
    "passed": "passed",
    "failed": "FAILED",
    "warned": "warned",
    "not reached": "not reached",
    "not known": "not known",
}


def make_outline(told: dict[str, Any]) -> Node:
    """The row with its answer at the top, then each step from input to receipt."""
    now, request = told.get("now"), told.get("request")
    name = told.get("row_id") if told.get("row_id") is not None else (request or {}).get("request_key", "")
    where = f" in run {told['run_id']}" if told.get("run_id") else ""
    root = Node(f"row {name}{where}", _TONES.get(told.get("state") or "", "plain"), lines=_list_facts(told, now))
    if told.get("output") is not None:
        root.texts.append(Text("answer", write_out(told["output"]), is_open=True))
    steps = [*told.get("earlier", ()), told, *told.get("later", ())]
    for step in steps:
        nodes = _tell_step(step, now)
        if len(steps) > 1:
            here = " (this one)" if step is told else ""
            nodes = [Node(f"step {step['step']}{here}", lines=[_say_state(step)], children=nodes)]
        root.children += nodes
    return root


def _list_facts(told: dict[str, Any], now: float | None) -> list[str]:
    lines = [_say_state(told)] if told.get("state") else []
    fates = (_say_fate(release, told.get("run_id"), now) for release in told.get("releases", ()))
    lines += [fate for fate in fates if fate]
    if run := told.get("run"):
        kind = "" if run["kind"] == "night" else f", a {run['kind']} of run {run['of_run']}"
        lines.append(f"flow {run['flow']}{kind}, {run['state']}, begun {tell_time(run['started_at'], now)}")
        if run["reason"]:
            lines.append(f"why it is {run['state']}: {run['reason']}")
        if run["source"]:
            row = f", row {told['row_number']}" if told.get("row_number") else ""
            lines.append(f"source {run['source']}{row}")
    if told.get("is_part_gone"):
        lines.append("the part that held it is gone or altered: this is what the ledger alone says")
    if key := told.get("request_key"):
        lines.append(f"request key {key}")
    elif told.get("request"):
        lines.append("no run's parts hold a row of this request")
    others = [r for r in told.get("runs", ()) if r["run_id"] != told.get("run_id")]
    lines += [
        f"{'asked' if r['did_ask'] else 'offered'} by run {r['run_id']} too, {tell_time(r['started_at'], now)}"
        for r in others
    ]
    if told.get("private"):
        lines.append(f"private, and hidden here: {', '.join(told['private'])} (--show-private shows them)")
    return lines


def _say_fate(release: dict[str, Any], run_id: str | None, now: float | None) -> str:
    """What became of the row at one sink, in a line, and by which run if not this; nothing while its review is open."""
    by = "" if run_id in (None, release.get("run_id")) else f" by run {release['run_id']}"
    if release.get("held_as"):
        return f"held back{by} from {release['sink']}: {release['held_as']}"
    if sent := release.get("delivery"):
        corrected = ", as a reviewer corrected it" if release.get("corrected_digest") else ""
        when = f", {tell_time(sent['settled_at'], now)}" if sent["settled_at"] else ""
        return f"{sent['state']}{by}: {release['sink']}{corrected}{when}"
    return ""


def _say_state(step: dict[str, Any]) -> str:
    rule = f", rule {step['rule']}" if step.get("rule") else ""
    if step.get("failure_class"):
        return f"{step['state']}: {step['failure_class']}{rule}: {step['reason']}"
    if step.get("reason"):
        return f"{step['state']}{rule}: {step['reason']}"
    return str(step.get("state") or "")


def _tell_step(step: dict[str, Any], now: float | None) -> list[Node]:
    """One step of a chain, from its input on."""
    nodes = [_tell_input(step, now)]
    if prompt := step.get("prompt"):
        nodes.append(tell_prompt(prompt, step.get("request"), now))
    if request := step.get("request"):
        nodes += tell_asked(request, now)
    if step.get("checks"):
        nodes.append(_tell_checks(step))
    if (changes := step.get("changes")) is not None:
        nodes.append(_tell_changes(changes))
    nodes += [tell_release(release, step, now) for release in step["releases"]]
    return nodes + (tell_since(request, now) if request else [])


def _tell_input(step: dict[str, Any], now: float | None) -> Node:
    if step.get("input") is not None:
        return Node("input", texts=[Text("input", write_out(step["input"]), is_open=True)])
    if (request := step.get("request")) and request["purged_at"]:
        return Node("input", "wait", lines=[f"dropped by the purge of {tell_time(request['purged_at'], now)}"])
    return Node("input", "bad", lines=["the row could not be read"])


def _tell_checks(step: dict[str, Any]) -> Node:
    checks, tone = step["checks"], _TONES.get(step.get("state") or "", "plain")
    node = Node("checks", tone)
    results = {one["result"] for one in (*checks["row"], *checks["batch"])}
    if step["state"] == "accepted" and checks["is_checked"] and results <= {"passed"}:
        node.lines.append("every row check and every rule of its batch passed")
    elif not checks["is_recorded"]:
        node.lines.append("which checks the run pinned is not recorded")
    elif not results:
        node.lines.append("the prompt has none")
    for kind, ones in (("row check", checks["row"]), ("rule of the batch", checks["batch"])):
        for one in ones:
            reason = f": {one['reason']}" if one["reason"] else ""
            number = f", number {one['number']} of checks.json" if one.get("number") else ""
            node.lines.append(f"{kind} {one['check']}{number}: {_RESULTS[one['result']]}{reason}")
    node.lines += [f"its batch is held: {line}" for line in checks["batch_failures"]]
    if checks["docs"]:
        node.lines.append(f"Data Docs: {checks['docs']}, in {_name_home(checks['docs_host'])}")
    return node


def _name_home(host: str | None) -> str:
    return f"the home folder of {host}" if host else "the project's home"


def _tell_changes(changes: dict[str, Any]) -> Node:
    if changes["compared_with"] is None:
        return Node("figures of its run", lines=["were compared with no run"])
    lines = [str(one.get("words", one)) if isinstance(one, dict) else str(one) for one in changes["changes"]]
    title = f"figures of its run beside run {changes['compared_with']}"
    return Node(title, "wait" if lines else "plain", lines=lines or ["nothing had changed"])
