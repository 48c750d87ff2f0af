"""Telemetry as a collector on loopback has it, of real calls to the fake provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from overnight.complete import Engine
from overnight.masking import MASK
from overnight.telemetry import open_telemetry
from tests.conftest import RUN, House
from tests.fakes.collector import Collector, Point
from tests.fakes.provider import FakeProvider, Scripted
from tests.unit.complete.conftest import Desk

ROOT = Path(__file__).parents[2]
#: Nothing listens there.
NOWHERE = "http://ada:pass-word@127.0.0.1:9"
CANARY = "canary"
USAGE = {"prompt_tokens": 70, "completion_tokens": 30}
CAPTURES = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

#: A process that sends once, as far as telemetry can tell, and ends.
PROCESS = """
import sys
from overnight.complete import get_engine
from overnight.settings import Settings
from overnight.telemetry import SendFacts

telemetry = get_engine(Settings.from_env()).telemetry
telemetry.begin_send(SendFacts("night-1", "key", 1, "first", "openai", "gpt", "http://h/v1", b"{}")).end(None, 0.0)
"""

#: A process that has set up OpenTelemetry for itself.
HOST = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from overnight.telemetry import SendFacts, open_telemetry

kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
telemetry, warning = open_telemetry()
with provider.get_tracer("host").start_as_current_span("night"):
    facts = SendFacts("night-1", "key", 1, "first", "openai", "gpt", "http://h/v1", b"{}")
    telemetry.begin_send(facts).end(None, 0.0)
print([span.name for span in kept.get_finished_spans()], warning, telemetry.close())
"""

#: A process without the packages of the extra.
BARE = """
import sys
sys.modules["opentelemetry.exporter"] = None
from overnight.telemetry import open_telemetry
print(*open_telemetry(), sep="\\n")
"""


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the environment names."""
    with Collector() as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        yield server


@pytest.fixture
def ask(house: House, fake: FakeProvider, collector: Collector) -> Callable[..., list[dict[str, Any]]]:
    """Asks the texts, each list a batch, in an engine that has ended by then."""
    house.begin()

    def ask(*batches: list[str], **prompt: Any) -> list[dict[str, Any]]:
        with closing(Engine(house.settings, house.ledger)) as engine:
            desk = Desk(house, fake, engine)
            asked = house.make_prompt(endpoint=fake.openai_base_url, **prompt)
            done = [desk.complete(house.read_batch(texts, n), asked) for n, texts in enumerate(batches, 1)]
            return [row for completed in done for row in desk.read(completed)]

    return ask


def _in_turn(*answers: Scripted) -> Callable[[dict[str, Any]], Scripted]:
    """One answer after the other, then good ones."""
    left = list(answers)
    return lambda _: left.pop(0) if left else Scripted()


def _run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_each_send_is_a_span_in_the_conventions_of_generative_ai(
    ask: Callable[..., Any], collector: Collector, fake: FakeProvider, house: House
) -> None:
    usage = USAGE | {
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    fake.answer = _in_turn(Scripted(usage=usage))
    [row] = ask(["some words"], model="openai:gpt-5-mini")
    [span] = collector.sends
    assert (span.name, span.kind, span.status, span.service) == ("chat gpt-5-mini", 3, 0, "overnight")
    [(attempt_id, cost_usd)] = house.fetch("SELECT attempt_id, cost_usd FROM attempts")
    assert cost_usd > 0
    assert span.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5-mini",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.output.type": "json",
        "gen_ai.response.model": "gpt-5-mini",
        "gen_ai.response.id": "chatcmpl-fake",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 70,
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.reasoning.output_tokens": 20,
        "server.address": "127.0.0.1",
        "server.port": fake.port,
        "overnight.run_id": RUN,
        "overnight.request_key": row["request_key"],
        "overnight.attempt_id": attempt_id,
        "overnight.cause": "first",
        "overnight.cost_usd": cost_usd,
    }


def test_the_sends_of_a_batch_are_the_children_of_its_span(ask: Callable[..., Any], collector: Collector) -> None:
    ask(["one", "two", ""], ["three"])
    batches = [span for span in collector.spans if span.name == "complete_batch sort"]
    first = batches[0].attributes
    assert first == {
        "overnight.run_id": RUN,
        "overnight.batch": 1,
        "overnight.step": 1,
        "overnight.pass": 1,
        "overnight.prompt": "sort",
        "overnight.prompt_hash": first["overnight.prompt_hash"],
        "overnight.n_rows": 3,
        "overnight.n_accepted": 2,
        "overnight.n_quarantined": 1,
        "overnight.n_pending": 0,
    }
    children = [[s for s in collector.sends if (s.trace_id, s.parent_id) == (b.trace_id, b.span_id)] for b in batches]
    assert [len(spans) for spans in children] == [2, 1]


def test_a_send_that_fails_is_a_span_with_its_failure_class(
    ask: Callable[..., Any], collector: Collector, fake: FakeProvider
) -> None:
    fake.answer = _in_turn(Scripted(status=429, headers={"retry-after": "0"}), Scripted(text='{"label": "violet"}'))
    [row] = ask(["some words"])
    assert row["state"] == "accepted"
    told = [
        (s.attributes.get("error.type"), s.attributes["overnight.cause"], s.status, s.said) for s in collector.sends
    ]
    assert told == [("rate_limit", "first", 2, ""), ("schema_invalid", "again", 2, ""), (None, "reask", 0, "")]
    assert [s.attributes.get("overnight.failure_class") for s in collector.sends] == [
        "rate_limit",
        "schema_invalid",
        None,
    ]
    assert [s.n_events for s in collector.sends] == [0, 0, 0]


def test_a_batch_that_cannot_be_asked_is_a_failed_span_without_the_words_of_its_error(
    ask: Callable[..., Any], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(Exception, match="needs a key"):
        ask(["some words"])
    [span] = collector.spans
    assert (span.attributes["error.type"], span.status, span.said, span.n_events) == ("ModelRefused", 2, "", 0)


def test_tokens_and_durations_are_histograms_with_the_buckets_of_the_conventions(
    ask: Callable[..., Any], collector: Collector, fake: FakeProvider
) -> None:
    limit = Scripted(status=429, headers={"retry-after": "0"})
    fake.answer = _in_turn(limit, Scripted(usage=USAGE), Scripted(usage=USAGE))
    ask(["one", "two"])
    shared = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-fake",
        "server.address": "127.0.0.1",
        "server.port": fake.port,
    }
    served = shared | {"gen_ai.response.model": "gpt-fake"}

    def find(metric: str) -> list[Point]:
        return [p for p in collector.points if p.metric == metric]

    tokens, durations = find("gen_ai.client.token.usage"), find("gen_ai.client.operation.duration")
    found = [(p.unit, p.attributes, p.count, p.total) for p in tokens]
    for_input, for_output = (served | {"gen_ai.token.type": kind} for kind in ("input", "output"))
    assert found == [("{token}", for_input, 2, 140), ("{token}", for_output, 2, 60)]
    assert tokens[0].bounds == (
        1,
        4,
        16,
        64,
        256,
        1024,
        4096,
        16384,
        65536,
        262144,
        1048576,
        4194304,
        16777216,
        67108864,
    )
    took = {p.attributes.get("error.type"): (p.unit, p.attributes, p.count) for p in durations}
    assert took == {"rate_limit": ("s", shared | {"error.type": "rate_limit"}, 1), None: ("s", served, 2)}
    assert all(p.total > 0 for p in durations)
    assert durations[0].bounds == (
        *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
    )


def test_nothing_of_a_row_a_prompt_an_answer_or_a_key_is_exported(
    ask: Callable[..., Any], collector: Collector, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"sk-{CANARY}-0123456789")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization={CANARY}-header")
    answers = [
        Scripted(status=500, body=f"{CANARY} in an error, and sk-{CANARY}-0123456789"),
        Scripted(body=f"{CANARY} in no JSON"),
        Scripted(text=f"{CANARY} in a malformed answer"),
        Scripted(text=json.dumps({"label": CANARY})),
        Scripted(body={"id": f"{CANARY} in an id", "choices": []}),
        Scripted(finish_reason=f"{CANARY} in a stop reason"),
        Scripted(refusal=f"{CANARY} in a refusal"),
        Scripted(model=f"{CANARY} in a model"),
    ]
    good = Scripted(text=json.dumps({"label": "red", "quote": CANARY}))
    fake.answer = lambda _: answers.pop(0) if answers else good
    rows = [row for n in range(12) for row in ask([f"{CANARY} {n}"], text=f"{CANARY} in a prompt: {{{{ body }}}}")]
    assert not answers
    assert any(CANARY in str(row["output"]) for row in rows)
    failed_with = {span.attributes.get("error.type") for span in collector.sends}
    assert failed_with == {"overload", "malformed", "schema_invalid", "unknown_stop", "refusal", "wrong_model", None}
    assert {path for path, _ in collector.posts} == {"/v1/traces", "/v1/metrics"}
    assert collector.headers[0]["authorization"] == f"{CANARY}-header"
    assert not [body for _, body in collector.posts if CANARY.encode() in body]


def test_messages_are_exported_where_they_are_asked_for_and_the_key_still_is_not(
    ask: Callable[..., Any], collector: Collector, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CAPTURES, "true")
    answer = json.dumps({"label": "red", "quote": "some words"})
    cut = Scripted(text="sk-fake-0123456789abcdef", finish_reason="length")
    fake.answer = _in_turn(cut, Scripted(text=answer, reasoning="it is red"))
    ask(["some words"])
    failed, span = collector.sends
    question = {"type": "text", "content": "Sort this: <query>some words</query>"}
    assert span.read("gen_ai.input.messages") == [{"role": "user", "parts": [question]}]
    parts = [{"type": "reasoning", "content": "it is red"}, {"type": "text", "content": answer}]
    assert span.read("gen_ai.output.messages") == [{"role": "assistant", "parts": parts, "finish_reason": "stop"}]
    [message] = failed.read("gen_ai.output.messages")
    assert message["parts"] == [{"type": "text", "content": MASK}]
    assert message["finish_reason"] == "length"


def test_a_key_in_a_prompt_s_own_text_is_not_exported(
    ask: Callable[..., Any], collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CAPTURES, "true")
    ask(["some words"], text="With sk-proj-0Canary1Of2A3Prompt4: {{ body }}")
    [span] = collector.sends
    [message] = span.read("gen_ai.input.messages")
    assert message["parts"] == [{"type": "text", "content": f"With {MASK}: some words"}]


def test_anthropics_system_text_is_apart_from_the_messages_and_its_stop_reason_has_the_conventions_name(
    house: House, fake: FakeProvider, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CAPTURES, "true")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-0123456789abcdef")
    text = "{% block system %}Be brief.{% endblock %}{% block user %}{{ body }}{% endblock %}"
    prompt = house.make_prompt(model="anthropic:claude-fake", endpoint=fake.anthropic_base_url, text=text)
    house.begin()
    with closing(Engine(house.settings, house.ledger)) as engine:
        Desk(house, fake, engine).ask(["some words"], prompt)
    [span] = collector.sends
    assert span.attributes["gen_ai.provider.name"] == "anthropic"
    assert span.attributes["gen_ai.response.finish_reasons"] == ["end_turn"]
    assert span.read("gen_ai.system_instructions") == [{"type": "text", "content": "Be brief."}]
    assert [message["role"] for message in span.read("gen_ai.input.messages")] == ["user"]
    assert span.read("gen_ai.output.messages")[0]["finish_reason"] == "stop"


def test_no_provider_is_sent_a_trace_header(ask: Callable[..., Any], fake: FakeProvider) -> None:
    ask(["some words"])
    [call] = fake.calls
    assert not {"traceparent", "tracestate", "baggage"} & call.headers.keys()


def test_a_collector_that_hangs_holds_up_neither_the_rows_nor_for_long_the_end(
    house: House, fake: FakeProvider, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    collector.answers.clear()
    house.begin()
    with closing(Engine(house.settings, house.ledger)) as engine:
        desk = Desk(house, fake, engine)
        rows = [row for n in range(5) for row in desk.ask([f"text {n}"], desk.make_prompt())]
        collector.wait_for_post()  # it hangs by now
        assert [row["state"] for row in rows] == ["accepted"] * 5
        assert engine.telemetry is not None
        began = time.monotonic()
        line = engine.telemetry.close(0.2)
        assert time.monotonic() - began < 2
    assert line
    assert f"The collector at 127.0.0.1:{collector.server_port} did not take 10 of 10 spans and the metrics" in line


def test_a_collector_that_is_down_costs_a_line_without_its_password(
    house: House, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{NOWHERE}/v1/traces")
    house.begin()
    with closing(Engine(house.settings, house.ledger)) as engine:
        desk = Desk(house, fake, engine)
        assert desk.list_states(["some words"], desk.make_prompt()) == ["accepted"]
        assert engine.telemetry is not None
        line = engine.telemetry.close(0.2)
    assert line == (
        "The collector at 127.0.0.1:9 did not take 2 of 2 spans; the run is not touched by it. See that it is up, that"
        " OTEL_EXPORTER_OTLP_TRACES_ENDPOINT names it, and that OVERNIGHT_ONLY_HOSTS lets it be reached."
    )


def test_a_collector_that_refuses_is_one_line_at_the_end(
    ask: Callable[..., Any], collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    collector.status = 401
    ask(["some words"])
    [line] = capsys.readouterr().err.splitlines()
    assert "did not take 2 of 2 spans and the metrics" in line


@pytest.mark.parametrize("hangs", [False, True])
def test_the_end_of_a_process_hands_over_what_is_left_or_gives_up(
    collector: Collector, home: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setenv("OVERNIGHT_HOME", str(home))
    if hangs:
        collector.answers.clear()
    said = _run(PROCESS)
    assert [span.name for span in collector.sends] == ["chat gpt"]
    assert ("did not take 1 of 1 spans and the metrics" in said) is hangs
    assert "Traceback" not in said


def test_a_host_process_that_has_providers_of_its_own_gets_the_spans(collector: Collector) -> None:
    assert _run(HOST) == "['chat gpt', 'night'] None None\n"
    assert not [path for path, _ in collector.posts if path == "/v1/traces"]


def test_without_the_extra_it_is_off_and_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", NOWHERE)
    assert _run(BARE) == (
        "None\nOTEL_EXPORTER_OTLP_ENDPOINT is set, but what exports telemetry is not installed"
        " (opentelemetry.exporter.otlp is missing): nothing is exported. Install overnight[telemetry], or unset the"
        " variable.\n"
    )


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://h:4318", "OTEL_SDK_DISABLED": "true"}, None),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "https://h:4318",
                "OTEL_TRACES_EXPORTER": "none",
                "OTEL_METRICS_EXPORTER": "none",
            },
            None,
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "ada:pass-word@h:4318"}, "is not an http(s) address"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318x"}, "is not an http(s) address"),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://[h"}, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT is not an http(s)"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE, "OTEL_BSP_MAX_QUEUE_SIZE": "-1"},
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but telemetry cannot be set up (ValueError)",
        ),
    ],
)
def test_it_is_off_without_an_endpoint_and_where_it_cannot_work_a_line_says_why(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    telemetry, warning = open_telemetry()
    assert telemetry is None
    assert (said in warning) if said and warning else said == warning
    assert "\n" not in (warning or "")
    assert "pass-word" not in (warning or "")


@pytest.mark.parametrize(
    ("variables", "name"),
    [({"OTEL_SERVICE_NAME": "nights"}, "nights"), ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=other"}, "other")],
)
def test_the_environment_names_the_service(
    ask: Callable[..., Any],
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    name: str,
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    ask(["some words"])
    assert {span.service for span in collector.spans} == {name}


def test_one_signal_alone_goes_where_its_own_variable_says(
    house: House, fake: FakeProvider, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{collector.url}/m")
    house.begin()
    with closing(Engine(house.settings, house.ledger)) as engine:
        Desk(house, fake, engine).ask(["some words"])
    assert {path for path, _ in collector.posts} == {"/m"}
