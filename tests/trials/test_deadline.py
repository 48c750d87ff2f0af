"""A call ends at its total deadline, whatever the provider does meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakes.provider import FakeProvider, Scripted
from tests.trials.conftest import pick
from tests.trials.night import Night
from tests.trials.scripts import GOOD, Script

DEADLINE_S = pick(short=1.0, long=10.0)
BAD = {"r1": Scripted(delay_s=60.0), "r2": Scripted(drip=1.0)}


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_hang_and_a_byte_a_second_end_at_the_deadline(
    open_night: Callable[..., Night],
    fake: FakeProvider,
    script: Script,
    say: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    *,
    provider: str,
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-fake-0123456789")
    endpoint = {"openai": fake.openai_base_url, "anthropic": fake.anthropic_base_url}[provider]
    script.decide = lambda _, row: GOOD if script.times_of(row) else BAD[row]
    night = open_night(["hangs", "drips"], model=f"{provider}:fake", endpoint=endpoint, call_timeout_s=DEADLINE_S)
    ended = night.work()
    query = "SELECT latency_s FROM attempts WHERE outcome = 'failed' AND failure_class = 'timeout'"
    latencies = [latency for (latency,) in night.house.fetch(query)]
    say(f"deadline of {DEADLINE_S:g} s, {provider}: " + ", ".join(f"{s:.2f} s" for s in latencies))
    assert ended.states == (2, 0, 0)
    assert len(latencies) == 2
    assert all(abs(latency - DEADLINE_S) <= 1.0 for latency in latencies)
    # The provider saw it so too: the row came again after the deadline, and its first wait.
    again_s = [times[1] - times[0] for row in BAD for times in [script.times_of(row)]]
    assert all(DEADLINE_S - 0.1 <= s <= DEADLINE_S + 1.1 for s in again_s)
    assert {call.path for call in fake.calls} == {"/v1/chat/completions" if provider == "openai" else "/v1/messages"}
