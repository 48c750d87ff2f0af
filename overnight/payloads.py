"""Payloads: a row as the exact bytes that a sink sends, fixed before a person reads them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from overnight.failures import SinkRefused
from overnight.keys import canonical_json, delivery_key, digest_bytes
from overnight.records import Payload

_KINDS = {"file": "file", "http": "http", "https": "http"}
_FILE_SUFFIXES = (".jsonl", ".parquet")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9_.:-]+(%[a-z0-9]+)?")


def make_payload(row: Mapping[str, Any], *, sink: str) -> Payload:
    """
    The bytes that leave for one row: canonical JSON, the output's fields beside the row's id and origin.

    JSON is inert, so nothing is neutralised here; a sink for spreadsheets would have to disarm formulas.

    Args:
        row: With row_id, output (a mapping), request_key, prompt_hash and model.
        sink: Its address; a part of the delivery key.
    """
    origin = {name: row[name] for name in ("row_id", "request_key", "prompt_hash", "model")}
    body = canonical_json({**row["output"], **origin})
    digest = digest_bytes(body)
    return Payload(row["row_id"], body, digest, delivery_key(sink_name(sink), row["row_id"], digest))


def kind_of(sink: str) -> str:
    """
    "file" or "http".

    Raises:
        SinkRefused: There is no such kind of sink.
    """
    kind = _KINDS.get(sink.partition(":")[0].lower())
    if kind is None:
        raise SinkRefused(f"The sink {sink!r} is of no known kind. Give file:PATH, http://… or https://….")
    return kind


def sink_name(sink: str) -> str:
    """
    The one way to write a sink's address: the same sink has the same name, and so the same keys.

    Raises:
        SinkRefused: The address is incomplete, or holds what does not belong in it.
    """
    if any(c.isspace() or not c.isprintable() for c in sink) and kind_of(sink) == "http":
        raise SinkRefused(f"The sink {sink!r} holds white space or control characters. Percent-encode them.")
    return _name_file(sink) if kind_of(sink) == "file" else _name_http(sink)


def _name_file(sink: str) -> str:
    path = sink.partition(":")[2]
    if path.startswith("//"):
        path = unquote(path[2:])
        if not path.startswith("/"):
            raise SinkRefused(f"The sink {sink!r} names a host. Give file:PATH, with one colon and no slashes before.")
    if "\0" in path or not PurePosixPath(path).name:
        raise SinkRefused(f"The sink {sink!r} names no file. Give file:PATH, for example file:data/out/rows.jsonl.")
    if PurePosixPath(path).suffix not in _FILE_SUFFIXES:
        raise SinkRefused(f"The sink {sink!r} has a suffix that cannot be written. Give .jsonl or .parquet.")
    # POSIX keeps two leading slashes apart from one.
    return "file:" + posixpath.normpath(re.sub("^/+", "/", path))


def _name_http(sink: str) -> str:
    try:
        url = urlsplit(sink)
        port = url.port
    except ValueError as error:
        raise SinkRefused(f"The sink {sink!r} is not an address ({error}). Give https://HOST/PATH.") from error
    if "@" in url.netloc:
        # The address itself would repeat the password.
        raise SinkRefused("The sink's address holds a user name or password. Give it without; credentials go apart.")
    if "#" in sink:
        raise SinkRefused(f"The sink {sink!r} has a fragment, which is never sent. Leave out what follows the #.")
    host = url.hostname or ""
    if not _HOST.fullmatch(host):
        raise SinkRefused(f"The sink {sink!r} names no host in ASCII. Give https://HOST/PATH.")
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[url.scheme]:
        netloc += f":{port}"
    return f"{url.scheme}://{netloc}{url.path or '/'}" + (f"?{url.query}" if url.query else "")
