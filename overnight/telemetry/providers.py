"""
Where spans and metrics go: to the host process's own providers, or over OTLP to the collector.

What exports runs in threads of its own, drops what it cannot keep, and is waited for only at the end, and not for long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from overnight.telemetry.wanted import Wanted

#: How long the end of the process waits for the collector.
PATIENCE_S = 3.0

_NOWHERE = logging.NullHandler()


class Providers:
    """Tracers and meters; `close` hands over what is still kept."""

    def __init__(self, wanted: Wanted, tracers: trace.TracerProvider, meters: metrics.MeterProvider) -> None:
        self.tracers = tracers
        self.meters = meters
        self._wanted = wanted
        self._losses: list[Callable[[], str | None]] = []
        self._closing = threading.Event()
        self._closers: list[threading.Thread] = []

    def own(self, shut_down: Callable[[], None], find_loss: Callable[[], str | None]) -> None:
        """Have a provider that was made here shut down at the end."""

        def close() -> None:
            self._closing.wait()
            shut_down()

        # Started now: at the end of a process no thread can be started any more.
        closer = threading.Thread(target=close, name="telemetry-closer", daemon=True)
        closer.start()
        self._closers.append(closer)
        self._losses.append(find_loss)

    def close(self, patience_s: float) -> str | None:
        """Wait for the collector to take what is left, no longer than that; a line where it did not take all."""
        if self._closing.is_set():
            return None
        self._closing.set()
        deadline = time.monotonic() + patience_s
        for closer in self._closers:
            closer.join(max(0.0, deadline - time.monotonic()))
        lost = " and ".join(loss for find_loss in self._losses if (loss := find_loss()))
        if not lost:
            return None
        return (
            f"The collector at {self._wanted.host} did not take {lost}; the run is not touched by it. See that it is"
            f" up, that {self._wanted.variable} names it, and that OVERNIGHT_ONLY_HOSTS lets it be reached."
        )


def open_providers(wanted: Wanted) -> Providers:
    """The providers of the host process where it has set some, else our own: Prefect's spans are not ours to export."""
    tracers, meters = trace.get_tracer_provider(), metrics.get_meter_provider()
    has_spans, has_metrics = isinstance(tracers, TracerProvider), isinstance(meters, MeterProvider)
    providers = Providers(
        wanted,
        tracers if has_spans and wanted.spans else trace.NoOpTracerProvider(),
        meters if has_metrics and wanted.metrics else metrics.NoOpMeterProvider(),
    )
    if wanted.spans and not has_spans:
        _silence()
        _own_spans(providers)
    if wanted.metrics and not has_metrics:
        _silence()
        _own_metrics(providers)
    return providers


def _own_spans(providers: Providers) -> None:
    exporter = _SpanExporter()
    processor = _Processor(exporter)
    tracers = TracerProvider(resource=_make_resource(), shutdown_on_exit=False)
    tracers.add_span_processor(processor)
    providers.tracers = tracers

    def find_loss() -> str | None:
        n_lost = processor.n_ended - exporter.n_taken
        return f"{n_lost} of {processor.n_ended} spans" if n_lost else None

    providers.own(tracers.shutdown, find_loss)


def _own_metrics(providers: Providers) -> None:
    exporter = _MetricExporter()
    reader = PeriodicExportingMetricReader(exporter)
    meters = MeterProvider([reader], resource=_make_resource(), shutdown_on_exit=False)
    providers.meters = meters
    # Sums since the start: the last export has all of them.
    providers.own(meters.shutdown, lambda: None if exporter.is_taken else "the metrics")


def _make_resource() -> Resource:
    """What the environment says of this process; its name is overnight where it has none."""
    found = Resource.create()
    is_unnamed = str(found.attributes[SERVICE_NAME]).startswith("unknown_service")
    return found.merge(Resource({SERVICE_NAME: "overnight"})) if is_unnamed else found


def _silence() -> None:
    """It logs each try, with addresses and header values: one line at the end is enough."""
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(_NOWHERE)
    logger.propagate = False


class _Processor(BatchSpanProcessor):
    """Counts what it is given: where its queue is full it drops."""

    def __init__(self, exporter: SpanExporter) -> None:
        super().__init__(exporter)
        self.n_ended = 0
        self._counting = threading.Lock()

    def on_end(self, span: ReadableSpan) -> None:
        if span.context and span.context.trace_flags.sampled:
            with self._counting:
                self.n_ended += 1
        super().on_end(span)


class _SpanExporter(OTLPSpanExporter):
    """Counts what the collector has taken."""

    n_taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            self.n_taken += len(spans)
        return result


class _MetricExporter(OTLPMetricExporter):
    """Knows whether the collector took the last of them."""

    is_taken = True

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: object
    ) -> MetricExportResult:
        self.is_taken = False
        result = super().export(metrics_data, timeout_millis, **kwargs)
        self.is_taken = result is MetricExportResult.SUCCESS
        return result
