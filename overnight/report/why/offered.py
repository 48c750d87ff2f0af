"""What became of a row that was offered, in words: who read it, what they saw, what left, and what the sink said."""

from __future__ import annotations

from typing import Any

import orjson

from overnight.report.reviews import say_count
from overnight.report.why.nodes import Node, Text, Tone
from overnight.report.why.words import tell_dropped, tell_time, write_out

_HOW = {"code": ", known by a code", "declared": ", by name alone"}
_TONES: dict[str, Tone] = {
    "approved": "good", "delivered": "good", "earlier": "good", "rejected": "bad", "failed": "bad",
    "held": "bad", "recalled": "bad",
}  # fmt: skip


def tell_release(release: dict[str, Any], step: dict[str, Any], now: float | None) -> Node:
    """A release to one sink: its review, its approval, its delivery."""
    node = Node(
        f"release {release['release_id']} to {release['sink']}", when=f"offered {tell_time(release['offered_at'], now)}"
    )
    if held_of := release.get("held_of"):
        is_own = held_of.rpartition("-")[0] == release["release_id"].rpartition("-")[0]
        once_more, joining = (
            f"offered once more: release {held_of} held it back",
            f"joins what release {held_of} let out",
        )
        node.lines.append(once_more if is_own else joining)
    if release["warning"]:
        node.lines.append(f"a check warned: {release['warning']}")
    if release["review"] == "open":
        node.tone = "wait"
        node.lines.append("its review is open: what was read of it is told once it has ended")
        return node
    node.children = [_tell_answer(answer, now) for answer in release["answers"]]
    if approval := release["approval"]:
        node.children.append(_tell_approval(approval, now))
    node.children += _tell_fate(release, (step.get("request") or {}).get("purged_at"), now)
    node.children += [_tell_intervention(one, now) for one in release.get("interventions", ())]
    if hold := release.get("hold"):
        since = tell_time(hold["held_at"], now)
        node.lines.append(f"sink {hold['sink']} is on hold by {hold['held_by']} since {since}: {hold['held_for']}")
    return node


def _tell_answer(answer: dict[str, Any], now: float | None) -> Node:
    who = f"{answer['outcome']} by {answer['reviewer'] or 'nobody'}{_HOW.get(answer['identified_by'] or '', '')}"
    node = Node(f"round {answer['round']}: {who} ({answer['channel']})", _TONES.get(answer["outcome"], "wait"))
    node.when = tell_time(answer["recorded_at"], now)
    took = f" in {answer['seconds']:.0f} s" if answer.get("seconds") else ""
    node.lines.append(f"{say_count(answer['n_verdicts'], 'item')} read{took}{_say_seeds(answer)}")
    if shown := answer["shown"]:
        why = f" ({shown['note']})" if shown["note"] else ""
        node.lines.append(f"this row: item {shown['item']}, shown for {shown['stratum']}{why}: {_say_verdict(answer)}")
        if isinstance(answer["verdict"], dict):
            node.texts.append(Text("as it should be", write_out(answer["verdict"])))
    else:
        node.lines.append("this row was not among those shown")
    node.lines += [f"because: {said}" for said in (answer["reason"], answer["detail"]) if said]
    return node


def _say_seeds(answer: dict[str, Any]) -> str:
    return "" if answer.get("n_seeds") is None else f", {answer['n_caught']} of {answer['n_seeds']} seeds caught"


def _say_verdict(answer: dict[str, Any]) -> str:
    verdict, reason = answer["verdict"] or "no verdict", answer.get("verdict_reason")
    if isinstance(verdict, dict):
        said = "corrected" if "corrected" in verdict else orjson.dumps(verdict).decode()
    else:
        said = verdict
    return f"{said} ({reason})" if reason else said


def _tell_approval(a: dict[str, Any], now: float | None) -> Node:
    node = Node(f"approval {a['approval_id']} by {a['reviewer']}", "good", tell_time(a["issued_at"], now))
    node.lines.append(f"{say_count(a['n_allowed'], 'row')} may leave, {a['n_held']:,} held; {a['state']}")
    node.lines.append(f"good until {tell_time(a['expires_at'], None)}")
    if a["consumed_at"]:
        node.lines.append(f"used up {tell_time(a['consumed_at'], now)}")
    if is_signed := a.get("signature_is"):
        node.lines.append(f"signature {is_signed}")
        node.tone = "bad" if is_signed == "altered" else node.tone
    if a["findings"]:
        node.texts.append(Text("what was found", write_out(a["findings"])))
    return node


def _tell_fate(release: dict[str, Any], purged_at: float | None, now: float | None) -> list[Node]:
    nodes = []
    if release.get("held_as"):
        nodes.append(Node(f"held: {release['held_as']}", "bad", lines=["it did not leave with this release"]))
    if digest := release.get("corrected_digest"):
        texts = [
            Text(label, write_out(text), is_open=True)
            for label, text in (("before", release["offered"]), ("after", release["corrected"]))
            if text
        ]
        lines = [] if release["corrected"] else [tell_dropped(purged_at, digest, now)]
        nodes.append(Node("left as corrected", "good", lines=lines, texts=texts))
    if sent := release.get("delivery"):
        nodes.append(_tell_delivery(sent, purged_at, now))
    return nodes


def _tell_delivery(sent: dict[str, Any], purged_at: float | None, now: float | None) -> Node:
    node = Node(f"delivery: {sent['state']}", _TONES.get(sent["state"], "wait"))
    node.when = tell_time(sent["settled_at"], now) if sent["settled_at"] else ""
    node.lines.append(f"receipt: {sent['detail'] or 'none'}")
    node.lines.append(f"promised {tell_time(sent['promised_at'], now)}, sent {say_count(sent['n_sends'], 'time')}")
    node.lines.append(f"delivery key {sent['delivery_key']}, payload SHA-256 {sent['payload']}")
    if follows := sent.get("follows"):
        node.lines.append(f"these bytes had left before: the key is another, since they follow those of key {follows}")
    if sent.get("delivered") is not None:
        node.texts.append(Text("what was sent", write_out(sent["delivered"])))
    elif "delivered" in sent:
        node.lines.append(f"what was sent: {tell_dropped(purged_at, sent['payload'], now)}")
    return node


def _tell_intervention(one: dict[str, Any], now: float | None) -> Node:
    node = Node(f"{one['kind']} of {one['release_id'] or one['sink']} by {one['by']}", "wait")
    node.when = tell_time(one["recorded_at"], now)
    node.lines = [one["reason"]] if one["reason"] else []
    return node
