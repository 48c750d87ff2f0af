"""
A small S3 on loopback: PUT, GET, HEAD and DELETE of objects with their conditions, and lists; it misbehaves on command.

In a test: `with FakeS3() as s3: ...`. Buckets need not be made; signatures are not judged.
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

#: Status, body, headers.
_Answer = tuple[int, bytes, dict[str, str]]


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; header names in lower case."""

    method: str
    #: BUCKET/KEY, decoded.
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Trouble:
    """What goes wrong with the next request of a method."""

    method: str
    #: None: the connection is cut.
    status: int | None = None
    #: The request is carried out, and only its answer is lost.
    is_done: bool = False
    code: str = "InternalError"
    message: str = "As told."


class FakeS3:
    """
    The server, on its own threads while the context lasts.

    Attributes:
        objects: Bytes by BUCKET/KEY; a test may change them.
        put_at: When each was put, seconds since the epoch; a test may change it. Told in whole seconds, as by Amazon.
        asked: The requests in order.
        troubles: Each is used up by the first request that it fits.
        missing_buckets: They answer NoSuchBucket.
        names_condition: Whether a refused condition is named in the answer, as Amazon does and others do not.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.put_at: dict[str, float] = {}
        self.asked: list[Asked] = []
        self.troubles: list[Trouble] = []
        self.missing_buckets: set[str] = set()
        self.names_condition = True
        self.lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def make_credential(self, **options: Any) -> str:
        """Storage options with which s3fs comes here, and gives up at once."""
        plain = {
            "key": "AKIAFAKE0123",
            "secret": "sesame-0123456789",
            "endpoint_url": self.url,
            "client_kwargs": {"region_name": "us-east-1"},
            "config_kwargs": {"retries": {"max_attempts": 0}},
        }
        return json.dumps({**plain, **options})

    def forget(self) -> None:
        """Be as at the start, at the same address."""
        for kept in (self.objects, self.put_at, self.asked, self.troubles, self.missing_buckets):
            kept.clear()
        self.names_condition = True

    def list_methods(self) -> list[str]:
        return [asked.method for asked in self.asked]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    # Every thread has ended when the context has.
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, store: FakeS3) -> None:
        self.store = store
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    # s3fs waits for "100 Continue" before it sends a body.
    protocol_version = "HTTP/1.1"
    server: _Server

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        store = self.server.store
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        url = urlsplit(self.path)
        path = unquote(url.path.lstrip("/"))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with store.lock:
            store.asked.append(Asked(self.command, path, url.query, headers))
            trouble = self._take_trouble()
            if trouble is None or trouble.is_done:
                answer = self._carry_out(path, url.query, headers, body)
        if trouble is None:
            self._send(*answer)
        elif trouble.status is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._send(trouble.status, _write_error(trouble.code, trouble.message), {})

    def _take_trouble(self) -> Trouble | None:
        troubles = self.server.store.troubles
        found = next((trouble for trouble in troubles if trouble.method == self.command), None)
        if found:
            troubles.remove(found)
        return found

    def _carry_out(self, path: str, query: str, headers: Mapping[str, str], body: bytes) -> _Answer:
        store = self.server.store
        if path.partition("/")[0] in store.missing_buckets:
            return 404, _write_error("NoSuchBucket", "The specified bucket does not exist"), {}
        if self.command == "GET" and "list-type=2" in query:
            return 200, self._list(path.strip("/"), dict(parse_qsl(query, keep_blank_values=True))), {}
        if query not in ("", "x-id=PutObject", "x-id=GetObject", "x-id=DeleteObject"):
            return 501, _write_error("NotImplemented", f"The fake does not know {self.command} with {query}"), {}
        return self._answer_object(path, headers, body)

    def _answer_object(self, path: str, headers: Mapping[str, str], body: bytes) -> _Answer:
        store = self.server.store
        found = store.objects.get(path)
        if self.command == "PUT":
            return self._put(path, body, found, headers)
        if self.command == "DELETE":
            return self._delete(path, found, headers)
        if found is None:
            return 404, _write_error("NoSuchKey", "The specified key does not exist."), {}
        status, data, told = _cut_out(found, headers.get("range") if self.command == "GET" else None)
        return status, data, {**told, "Last-Modified": formatdate(store.put_at.get(path, 0), usegmt=True)}

    def _list(self, bucket: str, asked: Mapping[str, str]) -> bytes:
        """All keys in one page."""
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        keys, folders = [], set()
        for path, data in sorted(self.server.store.objects.items()):
            name, _, key = path.partition("/")
            if name != bucket or not key.startswith(prefix):
                continue
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            if found:
                folders.add(f"{prefix}{head}{delimiter}")
            else:
                keys.append(
                    f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
                    f"<LastModified>{_write_time(self.server.store.put_at.get(path, 0))}</LastModified>"
                    f"<ETag>{escape(_make_etag(data))}</ETag>"
                    "<StorageClass>STANDARD</StorageClass></Contents>"
                )
        inside = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders)
        )
        return (
            f"<ListBucketResult><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><MaxKeys>1000</MaxKeys>"
            f"<KeyCount>{len(keys)}</KeyCount><IsTruncated>false</IsTruncated>{''.join(keys)}{inside}</ListBucketResult>"
        ).encode()

    def _put(self, path: str, body: bytes, found: bytes | None, headers: Mapping[str, str]) -> _Answer:
        if headers.get("if-none-match") == "*" and found is not None:
            return self._refuse_condition("If-None-Match")
        self.server.store.objects[path] = body
        self.server.store.put_at[path] = time.time()
        return 200, b"", {"ETag": _make_etag(body)}

    def _delete(self, path: str, found: bytes | None, headers: Mapping[str, str]) -> _Answer:
        if found is not None and headers.get("if-match", _make_etag(found)) != _make_etag(found):
            return self._refuse_condition("If-Match")
        self.server.store.objects.pop(path, None)
        return 204, b"", {}

    def _refuse_condition(self, condition: str) -> _Answer:
        message = "At least one of the pre-conditions you specified did not hold"
        named = f"<Condition>{condition}</Condition>" if self.server.store.names_condition else ""
        return 412, _write_error("PreconditionFailed", message, named), {}

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), "connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def _write_time(at: float) -> str:
    return f"{datetime.fromtimestamp(int(at), UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def _cut_out(data: bytes, wanted: str | None) -> _Answer:
    etag = {"ETag": _make_etag(data)}
    if wanted is None:
        return 200, data, etag
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    some = data[int(first) : int(last or len(data)) + 1]
    return 206, some, {**etag, "Content-Range": f"bytes {first}-{int(first) + len(some) - 1}/{len(data)}"}


def _make_etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _write_error(code: str, message: str, more: str = "") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>".encode()
