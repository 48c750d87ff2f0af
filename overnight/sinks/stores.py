"""Stores of objects behind fsspec: what a sink needs of them, and their errors translated."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import orjson

from overnight.failures import SinkRefused
from overnight.object_stores import LIBRARIES, Library, is_no_bucket, read_response
from overnight.sinks.addresses import find_address
from overnight.sinks.errors import DeliveryDeferred

_HTTP_CONFLICT = 412
#: Options that lead to another host, at whatever depth they stand.
_HOST_OPTIONS = ("endpoint_url", "account_host")
#: They hide the host among other things, or would take back what this file relies on.
_REFUSED_OPTIONS = ("connection_string", "asynchronous", "version_aware")
_MOST_ONE_PUT_BYTES = 5 * 2**30


class Store:
    """A store behind fsspec: foreign errors end here."""

    def __init__(self, scheme: str, credential: str | None, allow_hosts: frozenset[str]) -> None:
        options = _parse_options(credential)
        self._is_s3 = scheme == "s3"
        self._secrets = _list_secrets(options)
        for endpoint in _list_endpoints(options):
            _check_endpoint(endpoint, allow_hosts)
        library = LIBRARIES[scheme]
        fsspec = _import_library("fsspec", library)
        _import_library(library.module, library)
        self._errors = library.list_errors()
        self._fs = self._open(fsspec, scheme, options)
        if self._is_s3:
            # It may stand in the environment or in a configuration file.
            _check_endpoint(self._fs.s3.meta.endpoint_url, allow_hosts)

    def create(self, place: str, data: bytes) -> bool:
        """Put the object if none is there; False where one is."""
        # One put even above the size from which s3fs would upload in parts: not every store knows the condition there.
        sizes = {"chunksize": min(max(len(data), 1), _MOST_ONE_PUT_BYTES)} if self._is_s3 else {}
        with self._deferring(place):
            try:
                self._fs.pipe_file(place, data, mode="create", **sizes)
            except OSError as error:
                if isinstance(error, FileExistsError) or _is_conflict(error):
                    return False
                raise
        return True

    def find(self, place: str) -> bytes | None:
        """The object's bytes; None where there is no such object."""
        with self._deferring(place):
            try:
                return bytes(self._fs.cat_file(place))
            except FileNotFoundError as error:
                if is_no_bucket(error):
                    raise
                return None

    def find_etag(self, place: str) -> str | None:
        """What names this very object, where the store can delete by it."""
        if not self._is_s3:
            return None
        bucket, key, _ = self._fs.split_path(place)
        with self._deferring(place), contextlib.suppress(FileNotFoundError):
            return str(self._fs.call_s3("head_object", Bucket=bucket, Key=key)["ETag"])
        return None

    def delete(self, place: str, etag: str | None) -> bool:
        """Delete the object; False where it is not the one of the ETag."""
        with self._deferring(place):
            try:
                self._delete(place, etag)
            except FileNotFoundError:
                return True
            except OSError as error:
                if _is_conflict(error):
                    return False
                raise
        return True

    def close(self) -> None:
        """Close the connections."""
        # It closes them when nobody holds it any more.
        self._fs = None

    def _delete(self, place: str, etag: str | None) -> None:
        if etag is None:
            self._fs.rm_file(place)
            return
        bucket, key, _ = self._fs.split_path(place)
        self._fs.call_s3("delete_object", Bucket=bucket, Key=key, IfMatch=etag)

    def _open(self, fsspec: Any, scheme: str, options: dict[str, Any]) -> Any:
        # Instances and listings are kept process-wide otherwise, with the credentials in them. One reader at a time
        # spares s3fs the listing of the bucket, for which a credential may have no right.
        ours = {"skip_instance_cache": True, "use_listings_cache": False} | (
            {"max_concurrency": 1} if self._is_s3 else {}
        )
        with self._deferring(scheme):
            try:
                fs = fsspec.filesystem(scheme, **{**options, **ours})
                if self._is_s3:
                    fs.connect()
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                raise SinkRefused(
                    f"The sink's credential holds options that {scheme} does not take ({self._quote(error)}). Give a"
                    " JSON object of fsspec's storage options."
                ) from None
        return fs

    @contextlib.contextmanager
    def _deferring(self, place: str) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise DeliveryDeferred(
                f"{place} cannot be reached or written now ({self._quote(error)}). Mend the credential, the bucket or"
                " the network, or try again later."
            ) from None

    def _quote(self, error: BaseException) -> str:
        """What was said, on one line; a store that repeats the credential must not bring it into a log."""
        said = " ".join(str(error).split())
        for secret in self._secrets:
            said = said.replace(secret, "…")
        return f"{type(error).__name__}: {said[:300]}"


def _parse_options(credential: str | None) -> dict[str, Any]:
    try:
        options = orjson.loads(credential or "{}")
    except orjson.JSONDecodeError:
        options = None
    if not isinstance(options, dict):
        # The error of the parser holds the text.
        raise SinkRefused("The sink's credential is not a JSON object. Give fsspec's storage options as one.")
    refused = [name for name in _REFUSED_OPTIONS if name in options]
    if refused:
        raise SinkRefused(f"The sink's credential holds {refused[0]}, which cannot be used here. Give it without.")
    return options


def _walk_texts(options: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each text at any depth, with the option's name."""
    if isinstance(options, str):
        yield name, options
    elif isinstance(options, dict):
        for key, value in options.items():
            yield from _walk_texts(value, key)
    elif isinstance(options, list):
        for value in options:
            yield from _walk_texts(value, name)


def _list_endpoints(options: dict[str, Any]) -> list[str]:
    return [text for name, text in _walk_texts(options) if name in _HOST_OPTIONS]


def _list_secrets(options: dict[str, Any]) -> list[str]:
    """Longest first, since one may be a part of another; a shorter text is no secret."""
    texts = {text for name, text in _walk_texts(options) if name not in _HOST_OPTIONS and len(text) >= 4}  # noqa: PLR2004
    return sorted(texts, key=len, reverse=True)


def _check_endpoint(endpoint: str, allow_hosts: frozenset[str]) -> None:
    """
    Refuse a host that may not be reached.

    The store's library asks for the address anew: a name that leads elsewhere by then is not noticed.
    """
    try:
        url = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    except ValueError:
        url = urlsplit("")
    if "@" in url.netloc or not url.hostname:
        raise SinkRefused("The store's endpoint names no host, or holds a user name or password. Give https://HOST.")
    find_address(url.hostname, allow_hosts)


def _import_library(module: str, library: Library) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SinkRefused(
            f"The sink needs {module}, which is not installed ({error}). Install {library.to_install}."
        ) from error


def _is_conflict(error: OSError) -> bool:
    """Whether the condition did not hold; s3fs tells it as FileExistsError only where the store names the condition."""
    return bool(read_response(error).get("ResponseMetadata", {}).get("HTTPStatusCode") == _HTTP_CONFLICT)
