"""How a row was asked, in words: the prompt, the request, every attempt, and what was made of it since."""

from __future__ import annotations

from typing import Any

from overnight.report.why.nodes import Node, Text, Tone
from overnight.report.why.words import tell_cost, tell_dropped, tell_time, write_out

_TONES: dict[str, Tone] = {"accepted": "good", "open": "wait", "failed": "bad", "fenced": "bad"}
#: Where an open attempt stands that went with a provider batch.
_STATES = {
    "packing": "which has not been sent",
    "submitting": "which was being sent: the provider may have it",
    "submitted": "which the provider has: its answer has not come yet",
    "in_doubt": "of which nobody can tell whether the provider has it: `overnight batches` settles that",
    "ended": "which has ended",
    "unsent": "which was never sent",
}
#: What of a file is told where it is as it was, or gone.
_KEPT = {"unchanged": "unchanged since", "gone": "gone since", "changed": "changed since"}


def tell_prompt(prompt: dict[str, Any], request: dict[str, Any] | None, now: float | None) -> Node:
    """The prompt as it was, and what its folder holds now."""
    node = Node(f"prompt {prompt['name']}")
    if request:
        node.title += f", hash {request['prompt_hash'][:12]}"
        node.lines.append(f"prompt hash {request['prompt_hash']}")
        node.lines.append(f"first sent {tell_time(request['prompt_recorded_at'], now)}")
    since = prompt.get("since")
    if since and since["state"] == "gone":
        node.lines.append(f"the folder is gone: {since['folder']}; the texts are those that the run pinned")
    elif since:
        node.lines.append(f"{since['folder']} now: {since['state']}")
    node.texts.append(Text("prompt text", prompt["files"]["prompt.md"]))
    for one in since["files"] if since else ():
        node.lines.append(f"{one['file']}: {_KEPT[one['state']]}")
        if one["diff"]:
            node.texts.append(Text(f"what changed in {one['file']}", one["diff"], "diff", is_open=True))
    node.texts += [Text(file, write_out(text)) for file, text in prompt["files"].items() if file != "prompt.md"]
    return node


def tell_asked(request: dict[str, Any], now: float | None) -> list[Node]:
    """The request, its attempts, and its answer or refusal."""
    asked = Node(
        "request",
        lines=[f"model asked: {request['model']} at {request['endpoint']}", f"parameters {request['parameters']}"],
    )
    _add(asked, "request as it was rendered", (request["request"], request.get("request_digest")), request, now)
    attempts = [_tell_attempt(attempt, request, now) for attempt in request["attempts"]]
    return [asked, *attempts, *_tell_answer(request, now)]


def _tell_attempt(a: dict[str, Any], request: dict[str, Any], now: float | None) -> Node:
    why = f" ({a['cause']})" if a["cause"] not in (None, "first") else ""
    took = f", took {a['latency_s']:.2f} s" if a["latency_s"] is not None else ""
    node = Node(f"attempt {a['number']}{why}: {a['outcome']}", _TONES.get(a["outcome"], "plain"))
    node.when = tell_time(a["opened_at"], now) + took
    if packed := a.get("provider_batch"):
        node.lines.append(_tell_packed(packed, is_open=a["closed_at"] is None, now=now))
        node.lines.append(f"its item there: {packed['custom_id']}")
    elif a["closed_at"] is None:
        node.lines.append("never closed: what came of it is unknown, and it may have been billed")
    if a["model"]:
        node.lines.append(f"sent to another model: {a['model']} at {a['endpoint']}")
    if a["failure_class"]:
        node.lines.append(f"{a['failure_class']}: {a['message']}")
    if a["status"]:
        node.lines.append(f"status {a['status']}, stop reason {a['stop_reason']}, model served {a['model_served']}")
    if a["status"] or a["input_tokens"] is not None:
        node.lines.append(f"{_say_tokens(a)}, {tell_cost(a['cost_usd'])}")
    if a["provider_request_id"]:
        node.lines.append(f"the provider's id {a['provider_request_id']}")
    node.lines += [f"header {name}: {value}" for name, value in a["headers"].items()]
    _add(node, "request, where it differs", (a["sent"], a.get("sent_digest")), request, now)
    if a["reasoning"]:
        node.texts.append(Text("reasoning", a["reasoning"]))
    _add(node, "response", (a["response"], a.get("response_digest")), request, now)
    return node


def _tell_packed(packed: dict[str, Any], *, is_open: bool, now: float | None) -> str:
    """Which provider batch the attempt went with, and while it is open where that stands."""
    name = f" ({packed['provider_id']})" if packed["provider_id"] else ""
    went = f"in provider batch {packed['batch_id']}{name}"
    if not is_open:
        return went
    if packed["kind"]:
        came = tell_time(packed["arrived_at"], now)
        return f"{went}: its result ({packed['kind']}) came {came}, and is not judged yet"
    return f"{went}, {_STATES[packed['state']]}"


def _say_tokens(a: dict[str, Any]) -> str:
    counts = [f"{a['input_tokens']} tokens in, {a['output_tokens']} out"]
    counts += [
        f"{a[column]} {name}"
        for column, name in (
            ("cache_read_tokens", "read from the provider's cache"),
            ("cache_write_tokens", "written to it"),
            ("reasoning_tokens", "of reasoning"),
        )
        if a.get(column)
    ]
    return ", ".join(counts)


def _tell_answer(request: dict[str, Any], now: float | None) -> list[Node]:
    numbers = {a["attempt_id"]: a["number"] for a in request["attempts"]}
    if done := request["completion"]:
        by = f"of attempt {numbers.get(done['attempt_id'], '?')}" + (f", by {done['model']}" if done["model"] else "")
        return [
            Node(
                f"answer accepted, {by}",
                "good",
                tell_time(done["accepted_at"], now),
                texts=[Text("answer", write_out(done["output"]))],
            )
        ]
    if refused := request["quarantine"]:
        rule = f", rule {refused['rule']}" if refused["rule"] else ""
        node = Node(
            f"refused for good: {refused['failure_class']}{rule}", "bad", tell_time(refused["recorded_at"], now)
        )
        node.lines.append(refused["reason"])
        if refused["output"]:
            node.texts.append(Text("the answer that was refused", write_out(refused["output"])))
        return [node]
    if (dropped := request.get("purged_answer")) is not None:
        return [_tell_purged(dropped, now)]
    return []


def _tell_purged(dropped: dict[str, Any], now: float | None) -> Node:
    rule = f", rule {dropped['rule']}" if dropped["rule"] else ""
    was = f"refused for good: {dropped['failure_class']}{rule}" if dropped["failure_class"] else "answer accepted"
    node = Node(was, "wait", tell_time(dropped["settled_at"], now))
    digest = dropped["output_digest"] or "none was understood"
    node.lines.append(tell_dropped(dropped["purged_at"], digest, now))
    return node


def tell_since(request: dict[str, Any], now: float | None) -> list[Node]:
    """Replays, readings, and the same input under other versions of the prompt."""
    nodes = [_tell_replay(replay, request, now) for replay in request.get("replays", ())]
    nodes += [_tell_reading(reading, now) for reading in request.get("readings", ())]
    if versions := request.get("versions"):
        nodes.append(Node("other versions of the prompt", children=[_tell_version(v, now) for v in versions]))
    return nodes


def _tell_replay(r: dict[str, Any], request: dict[str, Any], now: float | None) -> Node:
    node = Node(f"replayed by {r['asked_by']}: {r['outcome']}", _TONES.get(r["outcome"], "plain"))
    node.when = tell_time(r["opened_at"], now)
    prompt = "" if r["prompt_hash"] == request["prompt_hash"] else f", prompt {r['prompt_hash']}"
    node.lines.append(
        f"{r['model']} at {r['endpoint']}{prompt}; {tell_cost(r['cost_usd'])}; nothing of it is published"
    )
    if r["failure_class"]:
        node.lines.append(f"{r['failure_class']}: {r['message']}")
    if r["output"]:
        node.texts.append(Text("its answer", write_out(r["output"])))
    _add(node, "response", (r["response"], r.get("response_digest")), request, now)
    return node


def _tell_reading(r: dict[str, Any], now: float | None) -> Node:
    node = Node(f"read by {r['reader']}: {r['verdict']}", "good" if r["verdict"] == "correct" else "wait")
    node.when = tell_time(r["recorded_at"], now)
    node.lines = [line for line in (r["note"], f"shown for {r['picked_for']}, in run {r['run_id']}") if line]
    return node


def _tell_version(v: dict[str, Any], now: float | None) -> Node:
    age = "newer" if v["is_newer"] else "older"
    node = Node(f"{age}, hash {v['prompt_hash']}, {v['model']}", when=f"first sent {tell_time(v['recorded_at'], now)}")
    if done := v["completion"]:
        node.lines.append(f"answered this input too {tell_time(done['accepted_at'], now)}: request {v['request_key']}")
        node.texts.append(Text("its answer", write_out(done["output"])))
    elif refused := v["quarantine"]:
        node.lines.append(
            f"was asked this input too, and refused for good: {refused['failure_class']}: {refused['reason']}"
        )
    else:
        node.lines.append("this input has no answer under it")
    return node


def _add(
    node: Node, label: str, found: tuple[str | None, str | None], request: dict[str, Any], now: float | None
) -> None:
    """A body, as its text and its digest, or what is left of it."""
    text, digest = found
    if text is not None:
        node.texts.append(Text(label, write_out(text)))
    elif digest:
        node.lines.append(f"{label}: {tell_dropped(request['purged_at'], digest, now)}")
