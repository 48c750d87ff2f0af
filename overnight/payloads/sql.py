"""SQL tables: the name of a table as a sink."""

from __future__ import annotations

import posixpath
import re
from pathlib import PurePosixPath
from typing import NoReturn
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from overnight.failures import SinkRefused

#: Where each delivery's key is kept, beside the table.
DELIVERIES = "overnight_deliveries"

_FORM = "Give postgresql://[USER@]HOST[:PORT]/DATABASE?table=[SCHEMA.]TABLE or sqlite:///PATH?table=TABLE."
_HOST = re.compile(r"[a-z0-9_.:-]+")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_SSL_MODES = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
_DEFAULT_PORT = 5432


def name_sql(sink: str) -> str:
    """
    The one way to write the address of a table.

    Args:
        sink: postgresql://[USER@]HOST[:PORT]/DATABASE?table=[SCHEMA.]TABLE[&sslmode=MODE], or sqlite:///PATH?table=TABLE,
            where a fourth slash begins an absolute path.

    Raises:
        SinkRefused: The address is incomplete, or holds what does not belong in it.
    """
    try:
        url = urlsplit(sink)
        parameters = parse_qsl(url.query, keep_blank_values=True, errors="strict") if url.query else []
        if "#" in sink:
            _refuse("has a fragment, which means nothing here")
        return _name_sqlite(sink, url, parameters) if url.scheme == "sqlite" else _name_postgres(url, parameters)
    except ValueError:
        # What the parser says repeats parts of the address, which may be a password's.
        _refuse("cannot be read")


def _refuse(why: str) -> NoReturn:
    """Never with the address itself: where it is wrong, no part of it is surely not the password."""
    raise SinkRefused(f"The address of the SQL sink {why}. {_FORM}") from None


def _name_postgres(url: SplitResult, parameters: list[tuple[str, str]]) -> str:
    user = url.netloc.rpartition("@")[0]
    if ":" in user:
        _refuse("holds a password, and credentials go apart")
    host, port, database = url.hostname or "", url.port, url.path[1:]
    if not _HOST.fullmatch(host):
        _refuse("names no host in ASCII")
    if port == 0:
        _refuse("names a port that does not exist")
    if not database or "/" in database:
        _refuse("does not name one database")
    table, ssl_mode = _read_parameters(parameters, n_parts=2, more={"sslmode"})
    if ssl_mode is not None and ssl_mode not in _SSL_MODES:
        _refuse(f"names an unknown sslmode; there are {', '.join(sorted(_SSL_MODES))}")
    netloc = f"[{host}]" if ":" in host else host
    netloc = f"{_quote_all(user)}@{netloc}" if user else netloc
    netloc += f":{port}" if port not in (None, _DEFAULT_PORT) else ""
    end = f"&sslmode={ssl_mode}" if ssl_mode else ""
    return f"postgresql://{netloc}/{_quote_all(database)}?table={table}{end}"


def _name_sqlite(sink: str, url: SplitResult, parameters: list[tuple[str, str]]) -> str:
    if url.netloc or sink[len("sqlite:") :][:3] != "///":
        _refuse("names a host, or has too few slashes")
    # POSIX keeps two leading slashes apart from one.
    path = posixpath.normpath(re.sub("^/+", "/", _unquote(url.path[1:])))
    if not PurePosixPath(path).name or path == ":memory:":
        _refuse("names no file")
    table, _ = _read_parameters(parameters, n_parts=1, more=set())
    return f"sqlite:///{quote(path)}?table={table}"


def _read_parameters(parameters: list[tuple[str, str]], *, n_parts: int, more: set[str]) -> tuple[str, str | None]:
    """The table, of a name of so many parts at the most, and the sslmode where there is one."""
    found = dict(parameters)
    if len(found) < len(parameters) or not found.keys() <= {"table", *more}:
        _refuse("has a parameter twice, or another than table and, for Postgres, sslmode")
    parts = found.get("table", "").split(".")
    if len(parts) > n_parts or not all(_IDENTIFIER.fullmatch(part) for part in parts):
        _refuse("names no table, or one that is not made of letters, digits and _ (63 at the most)")
    if parts[-1].lower() == DELIVERIES:
        _refuse(f"names {DELIVERIES}, which holds the keys of what was delivered")
    return ".".join(parts), found.get("sslmode")


def _quote_all(text: str) -> str:
    return quote(_unquote(text), safe="")


def _unquote(text: str) -> str:
    plain = unquote(text, errors="strict")
    if not plain.isprintable():
        _refuse("holds control characters")
    return plain
