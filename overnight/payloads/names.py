"""The name of a sink: its address with all that decides where and how rows are written, in one way to write it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from overnight.failures import SinkRefused
from overnight.payloads.mail import name_mail
from overnight.payloads.masking import mask_address
from overnight.payloads.objects import name_object
from overnight.payloads.sql import name_sql

_KINDS = {
    "file": "file",
    "http": "http",
    "https": "http",
    "s3": "object",
    "gs": "object",
    "az": "object",
    "postgresql": "sql",
    "sqlite": "sql",
    "smtp": "mail",
    "smtps": "mail",
    "own": "own",
    "inbox": "inbox",
}
_FILE_SUFFIXES = (".jsonl", ".csv", ".parquet")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PROMPT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HOST = re.compile(r"[a-z0-9_.:-]+(%[a-z0-9]+)?")


def kind_of(sink: str) -> str:
    """
    "file", "object", "http", "sql", "mail", or "own": a class of the project.

    Raises:
        SinkRefused: There is no such kind of sink.
    """
    scheme = sink.partition(":")[0]
    kind = _KINDS.get(scheme.lower())
    if kind is None:
        raise SinkRefused(
            f"There is no kind of sink {mask_address(scheme)}. Give file:PATH, https://…, postgresql://…, sqlite:///…,"
            " s3://…, smtp://…, inbox:PROMPT, or a name that pyproject.toml declares under [tool.overnight.sinks]."
        )
    return kind


@lru_cache(maxsize=64)
def sink_name(sink: str) -> str:
    """
    The one way to write a sink's address: the same sink has the same name, and so the same keys.

    Raises:
        SinkRefused: The address is incomplete, or holds what does not belong in it.
    """
    kind = kind_of(sink)
    if kind != "file" and any(c.isspace() or not c.isprintable() for c in sink):
        raise SinkRefused(
            f"The sink {mask_address(sink)} holds white space or control characters. Percent-encode them."
        )
    return _NAMERS[kind](sink)


def _name_file(sink: str) -> str:
    path = sink.partition(":")[2]
    if path.startswith("//"):
        path = unquote(path[2:])
        if not path.startswith("/"):
            raise SinkRefused(
                f"The sink {mask_address(sink)} names a host. Give file:PATH, with one colon and no slashes before."
            )
    if "\0" in path or not PurePosixPath(path).name:
        raise SinkRefused(
            f"The sink {mask_address(sink)} names no file. Give file:PATH, for example file:data/out/rows.jsonl."
        )
    if PurePosixPath(path).suffix not in _FILE_SUFFIXES:
        raise SinkRefused(
            f"The sink {mask_address(sink)} has a suffix that cannot be written. Give .jsonl, .csv or .parquet."
        )
    # POSIX keeps two leading slashes apart from one.
    return "file:" + posixpath.normpath(re.sub("^/+", "/", path))


def _name_http(sink: str) -> str:
    try:
        url = urlsplit(sink)
        port = url.port
    except ValueError:
        # The error itself repeats a part of the address.
        raise SinkRefused(
            f"The sink {mask_address(sink)} is not an address: mend its port or its brackets. Give https://HOST/PATH."
        ) from None
    if "@" in url.netloc:
        # The address itself would repeat the password.
        raise SinkRefused("The sink's address holds a user name or password. Give it without; credentials go apart.")
    if "#" in sink:
        raise SinkRefused(
            f"The sink {mask_address(sink)} has a fragment, which is never sent. Leave out what follows the #."
        )
    host = url.hostname or ""
    if not _HOST.fullmatch(host):
        raise SinkRefused(f"The sink {mask_address(sink)} names no host in ASCII. Give https://HOST/PATH.")
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[url.scheme]:
        netloc += f":{port}"
    return f"{url.scheme}://{netloc}{url.path or '/'}" + (f"?{url.query}" if url.query else "")


def _name_inbox(sink: str) -> str:
    prompt = sink.partition(":")[2]
    if not _PROMPT.fullmatch(prompt):
        raise SinkRefused(
            f"The sink {mask_address(sink)} names no prompt. Give inbox:PROMPT: whoever asked it from outside is"
            " answered there."
        )
    return f"inbox:{prompt}"


_NAMERS: dict[str, Callable[[str], str]] = {
    "file": _name_file,
    "http": _name_http,
    "object": name_object,
    "sql": name_sql,
    "mail": name_mail,
    # Made by `declared`, in one way already.
    "own": str,
    "inbox": _name_inbox,
}
