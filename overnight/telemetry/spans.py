"""A span a batch and a span a send, and the metrics of the sends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from opentelemetry.trace import Span, SpanKind, StatusCode

from overnight import __version__
from overnight.records import Batch, CompletedBatch, Prompt, Reply
from overnight.telemetry.conventions import (
    DURATION_BUCKETS,
    TOKEN_BUCKETS,
    Attributes,
    SendFacts,
    describe_input,
    describe_model,
    describe_output,
    describe_reply,
    describe_request,
    find_model_served,
    read_json,
)
from overnight.telemetry.providers import PATIENCE_S, Providers


class Telemetry:
    """
    What is told of the calls of a process.

    Args:
        providers: Where it goes.
        captures: Whether spans carry what was asked and answered.
    """

    def __init__(self, providers: Providers, *, captures: bool) -> None:
        self.captures = captures
        self._providers = providers
        self._tracer = providers.tracers.get_tracer("overnight", __version__)
        meter = providers.meters.get_meter("overnight", __version__)
        self.tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        self.durations = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )

    @contextlib.contextmanager
    def in_batch(
        self, batch: Batch, prompt: Prompt, run_id: str, pass_n: int
    ) -> Iterator[Callable[[CompletedBatch], None]]:
        """The span of a batch, for as long as its rows are asked: their sends are its children."""
        attributes: Attributes = {
            "overnight.run_id": run_id,
            "overnight.batch": batch.n,
            "overnight.step": batch.step,
            "overnight.pass": pass_n,
            "overnight.prompt": prompt.name,
            "overnight.prompt_hash": prompt.prompt_hash,
            "overnight.n_rows": batch.n_rows,
        }
        # An exception's words may be those of a row: its kind is told, by `_fail`.
        with self._tracer.start_as_current_span(
            f"complete_batch {prompt.name}",
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield lambda completed: span.set_attributes(_count_rows(completed))
            except BaseException as error:
                _fail(span, type(error).__name__)
                raise

    def begin_send(self, facts: SendFacts) -> SendSpan:
        """The span of a send that begins now."""
        shared = describe_model(facts)
        span = self._tracer.start_span(f"chat {facts.model}", kind=SpanKind.CLIENT, attributes=shared)
        if span.is_recording():
            body = read_json(facts.body)
            span.set_attributes(describe_request(facts, body) | (describe_input(body) if self.captures else {}))
        return SendSpan(self, span, shared)

    def close(self, patience_s: float = PATIENCE_S) -> str | None:
        """Hand over what is left, in a bounded time; a line where not all was taken."""
        return self._providers.close(patience_s)


class SendSpan:
    """A send under way."""

    def __init__(self, telemetry: Telemetry, span: Span, shared: Attributes) -> None:
        self._telemetry = telemetry
        self._span = span
        self._shared = shared
        self._started = time.monotonic()

    def end(self, reply: Reply | None, cost_usd: float | None, failed_with: str | None = None) -> None:
        """
        Close it with what came of it.

        Args:
            reply: What came back, where anything did.
            cost_usd: None where nobody knows.
            failed_with: The failure's class, where the answer is not accepted.
        """
        took_s = time.monotonic() - self._started
        if self._span.is_recording():
            self._describe(reply, cost_usd, failed_with)
        self._span.end()
        self._measure(reply, took_s, failed_with)

    def _describe(self, reply: Reply | None, cost_usd: float | None, failed_with: str | None) -> None:
        if reply is not None:
            self._span.set_attributes(describe_reply(reply))
            if self._telemetry.captures:
                self._span.set_attributes(describe_output(reply))
        if cost_usd is not None:
            self._span.set_attribute("overnight.cost_usd", cost_usd)
        if failed_with:
            self._span.set_attribute("overnight.failure_class", failed_with)
            _fail(self._span, failed_with)

    def _measure(self, reply: Reply | None, took_s: float, failed_with: str | None) -> None:
        served = find_model_served(reply) if reply else None
        shared = self._shared | ({"gen_ai.response.model": served} if served else {})
        self._telemetry.durations.record(took_s, shared | ({"error.type": failed_with} if failed_with else {}))
        # Answers that are not accepted are paid for too.
        if reply is not None and reply.usage.input_tokens:
            counted = {"input": reply.usage.input_tokens, "output": reply.usage.output_tokens}
            for kind, n_tokens in counted.items():
                self._telemetry.tokens.record(n_tokens, shared | {"gen_ai.token.type": kind})


def _fail(span: Span, error_type: str) -> None:
    """Mark the span as failed, by the kind of the error alone."""
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)


def _count_rows(completed: CompletedBatch) -> Attributes:
    """What became of a batch's rows."""
    return {
        "overnight.n_accepted": completed.n_accepted,
        "overnight.n_quarantined": completed.n_quarantined,
        "overnight.n_pending": completed.n_pending,
    }
