"""The files of a source that is elsewhere, through fsspec: credentials come from where the store's own client looks."""

from __future__ import annotations

import importlib
import io
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from overnight.failures import InputRefused
from overnight.intake.source_files import READABLE, SourceFile, find_kind, get_kind, is_left_out
from overnight.masking import mask_secrets

#: Until a connection stands, and until more of an answer comes; a whole file may take hours.
_CONNECT_S, _READ_S = 20, 60
_AT_ONCE = 2**20


@dataclass(frozen=True)
class _Store:
    """What speaks a protocol."""

    module: str
    to_install: str
    #: Its exceptions that are no OSError.
    errors: tuple[str, ...] = ()
    #: Whether it can say what is in a folder.
    lists: bool = True


_HTTP = _Store("aiohttp", "aiohttp", ("aiohttp:ClientError",), lists=False)
_STORES = {
    "s3": _Store("s3fs", "overnight[s3]", ("botocore.exceptions:BotoCoreError", "aiohttp:ClientError")),
    "gs": _Store("gcsfs", "gcsfs", ("gcsfs.retry:HttpError", "google.auth.exceptions:GoogleAuthError")),
    "az": _Store("adlfs", "adlfs", ("azure.core.exceptions:AzureError",)),
    "http": _HTTP,
    "https": _HTTP,
    # Of this process: for code that makes its rows itself, and for tests.
    "memory": _Store("fsspec.implementations.memory", "fsspec"),
}


def check_url(url: str) -> str:
    """
    The scheme of a URL that may be read and recorded.

    Raises:
        InputRefused: It is none that can be read, or it holds what may be a credential.
    """
    scheme = url.partition("://")[0].lower()
    if scheme not in _STORES:
        raise InputRefused(
            f"The source's scheme {scheme!r} is none that can be read. Give a path, or a URL of {', '.join(_STORES)} or"
            " file."
        )
    try:
        parts = urlsplit(url)
        has_user = "@" in parts.netloc
    except ValueError as error:
        raise InputRefused(f"The source is no URL ({error}). Mend it.") from None
    if has_user:
        raise InputRefused(
            f"The {scheme} URL of the source holds a user or a password, and would be recorded with it. Take it out:"
            " credentials come from the environment or the store's own files."
        )
    if "?" in url or "#" in url:
        raise InputRefused(
            f"The {scheme} URL of the source holds a query or a fragment, and would be recorded with it, keys and all."
            " Give an address without one, or download the file."
        )
    if not parts.netloc and scheme != "memory":
        raise InputRefused(f"The source {url!r} names no host and no bucket. Give all of the URL.")
    return scheme


def find_remote_files(url: str) -> list[SourceFile]:
    """
    The files that the URL names, by name: one, those of a folder, or those of a pattern with `*`.

    Raises:
        InputRefused: There is none, one is of another kind, or the store cannot be reached.
    """
    scheme = check_url(url)
    is_one = find_kind(urlsplit(url).path) is not None and "*" not in url
    if not is_one and not _STORES[scheme].lists:
        get_kind(url)
        raise InputRefused(f"{url} is a pattern, and what is at {scheme} cannot be listed. Give the URL of one file.")
    store = _Reached(scheme)
    if is_one:
        return [store.describe(url)]
    return [store.describe(found) for found in store.list_files(url)]


class _Reached:
    """A store behind fsspec: foreign errors end here."""

    def __init__(self, scheme: str) -> None:
        store = _STORES[scheme]
        _import(store, scheme)
        fsspec = importlib.import_module("fsspec")
        self._errors = (OSError, *(pkgutil.resolve_name(name) for name in store.errors))
        self._options = {"block_size": 0} if store is _HTTP else {}
        with self.translating(f"{scheme}://"):
            # Instances and listings are kept process-wide otherwise: a file that came since would not be seen.
            self._fs = fsspec.filesystem(
                scheme, skip_instance_cache=True, use_listings_cache=False, **_make_options(scheme)
            )

    def describe(self, url: str) -> SourceFile:
        return SourceFile(url, get_kind(url), partial(self.open, url))

    def open(self, url: str) -> BinaryIO:
        """The file's bytes, fetched as they are read."""
        with self.translating(url):
            # Over HTTP one answer is read to its end: parts asked for one by one might be of two versions.
            file = self._fs.open(url, "rb", **self._options)
        return io.BufferedReader(_Fetched(file, self, url), _AT_ONCE)

    def list_files(self, url: str) -> list[str]:
        """
        What is in the folder, or of the pattern.

        Raises:
            InputRefused: Nothing, a folder or a file that would not be read, or no answer.
        """
        try:
            with self.translating(url):
                found = self._fs.glob(url, detail=True).values() if "*" in url else self._fs.ls(url, detail=True)
        except ValueError as error:
            raise InputRefused(f"{url} is no pattern ({error}). Mend it.") from error
        base = self._fs._strip_protocol(url.partition("*")[0])  # noqa: SLF001 - there is no other name for it
        names = []
        for entry in sorted(found, key=lambda entry: str(entry["name"])):
            name = str(entry["name"])
            parts = PurePosixPath(name.removeprefix(base)).parts
            if any(is_left_out(part) for part in parts) or not parts:
                continue  # hidden, or the folder itself
            if entry["type"] == "directory" and "*" in url:
                continue
            if entry["type"] == "directory" or find_kind(name) is None:
                raise InputRefused(
                    f"{url} holds {name!r}, which would not be read. Move it elsewhere, or give a pattern such as"
                    f" {url.rstrip('/')}/*.csv."
                )
            names.append(str(self._fs.unstrip_protocol(name)))
        if not names:
            raise InputRefused(f"{url} has no file to read there. Give a folder or a pattern with a {READABLE} file.")
        return names

    @contextmanager
    def translating(self, url: str) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            why = _quote(error)
            raise InputRefused(
                f"{url} cannot be read ({why}). Check the address, the network and the credentials in the environment,"
                " and run again: nothing of it is taken."
            ) from None


class _Fetched(io.RawIOBase):
    """A file of fsspec, whose errors are translated."""

    def __init__(self, file: Any, store: _Reached, url: str) -> None:
        self._file, self._store, self._url = file, store, url

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        with self._store.translating(self._url):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _import(store: _Store, scheme: str) -> None:
    try:
        importlib.import_module(store.module)
    except ImportError as error:
        raise InputRefused(
            f"A source at {scheme}:// needs {error.name}, which is not there. Install {store.to_install}."
        ) from error


def _make_options(scheme: str) -> dict[str, Any]:
    if scheme == "s3":
        return {"config_kwargs": {"connect_timeout": _CONNECT_S, "read_timeout": _READ_S}}
    if scheme in ("http", "https"):
        aiohttp = importlib.import_module("aiohttp")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_READ_S)
        # As it is stored: what a server compresses on the way would be a file of unknown size.
        return {"client_kwargs": {"timeout": timeout, "headers": {"Accept-Encoding": "identity"}}}
    return {}


def _quote(error: BaseException) -> str:
    """What was said, on one line; no store may bring a credential into a log by repeating it."""
    said = mask_secrets(" ".join(str(error).split()))[:300]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
