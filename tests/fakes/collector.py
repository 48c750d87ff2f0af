"""A collector of telemetry: a web server on loopback that takes OTLP over HTTP and reads it as protobuf."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """A span as it arrived."""

    name: str
    #: As protobuf has it: 3 is a client's.
    kind: int
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    attributes: Mapping[str, Any]
    #: 2 is an error.
    status: int
    said: str
    n_events: int
    service: str

    def read(self, name: str) -> Any:
        """An attribute that is JSON."""
        return json.loads(self.attributes[name])


@dataclass(frozen=True)
class Point:
    """A point of a histogram as it arrived."""

    metric: str
    unit: str
    attributes: Mapping[str, Any]
    count: int
    total: float
    bounds: tuple[float, ...]


class Collector(ThreadingHTTPServer):
    """The server, on its own thread while the context lasts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        #: Path and body of each post, and its headers.
        self.posts: list[tuple[str, bytes]] = []
        self.headers: list[Mapping[str, str]] = []
        self.status = 200
        #: Clear: whoever posts waits for the answer.
        self.answers = threading.Event()
        self.answers.set()
        self._arrived = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def spans(self) -> list[Span]:
        """All spans, in the order in which they ended."""
        return [
            span
            for path, body in self.posts
            if path == "/v1/traces"
            for of_one in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in of_one.scope_spans
            for span in (_read_span(s, _read(of_one.resource.attributes)) for s in scope.spans)
        ]

    @property
    def sends(self) -> list[Span]:
        """The spans of single sends."""
        return [span for span in self.spans if "gen_ai.operation.name" in span.attributes]

    @property
    def points(self) -> list[Point]:
        """The points of the last post of metrics."""
        bodies = [body for path, body in self.posts if path == "/v1/metrics"]
        return [
            Point(
                metric.name,
                metric.unit,
                _read(p.attributes),
                p.count,
                p.sum,
                tuple(round(b, 9) for b in p.explicit_bounds),
            )
            for of_one in ExportMetricsServiceRequest.FromString(bodies[-1] if bodies else b"").resource_metrics
            for scope in of_one.scope_metrics
            for metric in scope.metrics
            for p in metric.histogram.data_points
        ]

    def keep(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.posts.append((path, body))
        self.headers.append({name.lower(): value for name, value in headers.items()})
        self._arrived.set()

    def wait_for_post(self, timeout_s: float = 10.0) -> None:
        """Until something has arrived."""
        assert self._arrived.wait(timeout_s)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answers.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever posted may have ended without waiting for the answer."""


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.keep(self.path, body, dict(self.headers))
        self.server.answers.wait(20)
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


def _read_span(span: Any, resource: Mapping[str, Any]) -> Span:
    return Span(
        span.name,
        span.kind,
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        _read(span.attributes),
        span.status.code,
        span.status.message,
        len(span.events),
        resource["service.name"],
    )


def _read(attributes: Iterable[Any]) -> dict[str, Any]:
    return {attribute.key: _read_value(attribute.value) for attribute in attributes}


def _read_value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_read_value(v) for v in value.array_value.values] if kind == "array_value" else getattr(value, kind)
