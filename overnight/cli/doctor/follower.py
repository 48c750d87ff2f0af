"""Whether somebody follows provider batches, where rows of this project go with such."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from overnight.cli.doctor.asked import PrefectAsked
from overnight.cli.doctor.finding import Finding, ok, warn
from overnight.records import Mode, Prompt
from overnight.settings import Settings

_WHAT, _FLOW = "provider batches", "follow_batches"


def look_at_follower(asked: PrefectAsked, settings: Settings, prompts: Sequence[Prompt]) -> Iterator[Finding]:
    """A deployment of the flow that follows them, with an active schedule: else a deployed run holds its worker."""
    who = _name_who_asks(settings, prompts)
    if who is None:
        return
    found = [d for d in asked.list_deployments() if _name_flow(d) == _FLOW]
    if any(not d.get("paused") and any(s.get("active") for s in d.get("schedules") or []) for d in found):
        yield ok(_WHAT, f"followed by the flow follow-batches; {who} asks in such")
        return
    why = "the schedule of the flow follow-batches is paused" if found else "no flow follow-batches is deployed"
    said = f"{who} asks in such, and {why}: a deployed run holds its worker until they have ended"
    add = "Copy the flow and its deployment (`overnight init --tasks` says how), then `overnight up`."
    yield warn(_WHAT, said, "Resume it in the UI." if found else add)


def _name_who_asks(settings: Settings, prompts: Sequence[Prompt]) -> str | None:
    if settings.mode:
        return f"OVERNIGHT_MODE={settings.mode}" if settings.mode == Mode.BATCH else None
    named = [prompt.name for prompt in prompts if prompt.mode == Mode.BATCH]
    return f"prompt {', '.join(named)}" if named else None


def _name_flow(deployment: dict[str, Any]) -> str:
    return str(deployment.get("entrypoint") or "").replace(":", ".").rpartition(".")[2]
