"""An HTTP receiver that takes one row a request and dedupes on the delivery key."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import tenacity

from overnight.failures import SinkRefused
from overnight.payloads import sink_name
from overnight.records import Payload
from overnight.sinks.addresses import check_host
from overnight.sinks.errors import DeliveryFailed, DeliveryUnsure

_TIMEOUT_S = 30.0
_MOST_WAIT_S = 60.0
_N_ATTEMPTS = 4
_RETRIED = frozenset({408, 425, 429})
#: They speak of the address or the token, not of the row: no row is given up for them.
_SINK_FAULTS = frozenset({401, 403, 404, 405, 407})


class _TryAgain(Exception):
    """An attempt that settled nothing; the message says what happened."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class HttpSink:
    """POSTs exactly the payload's bytes under `Idempotency-Key`; follows no redirect, reads no proxy settings."""

    effect = "irreversible"

    def __init__(
        self, uri: str, *, allow_hosts: frozenset[str], token: str | None = None, retry_base_s: float = 1.0
    ) -> None:
        self.uri = sink_name(uri)
        self._url = _parse_url(self.uri)
        self._token = _check_token(token)
        self._backoff = tenacity.wait_random_exponential(multiplier=retry_base_s, max=_MOST_WAIT_S)
        _check_reachable(self._url.host, allow_hosts)
        self._client = httpx.Client(timeout=_TIMEOUT_S, trust_env=False, follow_redirects=False)

    def send(self, payload: Payload) -> str:
        """
        POST one row; the status that confirmed it.

        Raises:
            DeliveryFailed: The receiver refused for good.
            DeliveryUnsure: No attempt of four settled it; it may be sent again later.
            SinkRefused: The host is not one that may be reached.
        """
        attempts = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_N_ATTEMPTS),
            wait=self._wait_s,
            retry=tenacity.retry_if_exception_type(_TryAgain),
            reraise=True,
        )
        try:
            return attempts(self._post, payload)
        except _TryAgain as error:
            raise DeliveryUnsure(
                f"Row {payload.row_id} may not have reached {self.uri} after {_N_ATTEMPTS} attempts ({error}). "
                "The same key cannot arrive twice."
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _post(self, payload: Payload) -> str:
        headers = {"content-type": "application/json", "idempotency-key": payload.delivery_key}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        try:
            response = self._client.post(self._url, content=payload.body, headers=headers)
        except (httpx.HTTPError, OSError) as error:
            raise _TryAgain(f"{type(error).__name__}: {error}") from error
        return self._judge(response, payload)

    def _judge(self, response: httpx.Response, payload: Payload) -> str:
        status = response.status_code
        if response.is_success:
            return f"HTTP {status}"
        if status in _RETRIED or response.is_server_error:
            raise _TryAgain(f"HTTP {status}", _read_retry_after_s(response))
        if status in _SINK_FAULTS or response.is_redirect:
            raise DeliveryUnsure(
                f"{self.uri} takes no rows now: HTTP {status}, {self._quote(response)} Check OVERNIGHT_SINK_TOKEN and"
                " the address."
            )
        raise DeliveryFailed(
            f"{self.uri} refused row {payload.row_id} with HTTP {status}: {self._quote(response)} "
            "Mend the receiver or the address, then deliver again."
        )

    def _quote(self, response: httpx.Response) -> str:
        """What the receiver said, on one line; a receiver that repeats the token must not bring it into a log."""
        said = response.text.replace(self._token, "…") if self._token else response.text
        return repr(said[:200])

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _TryAgain) and error.retry_after_s is not None:
            return min(max(error.retry_after_s, 0.0), _MOST_WAIT_S)
        return self._backoff(state)


def _parse_url(uri: str) -> httpx.URL:
    try:
        return httpx.URL(uri)
    except httpx.InvalidURL as error:
        raise SinkRefused(f"The sink {uri!r} is not an address ({error}). Give https://HOST/PATH.") from error


def _check_reachable(host: str, allow_hosts: frozenset[str]) -> None:
    try:
        check_host(host, allow_hosts)
    except OSError as error:
        raise SinkRefused(
            f"The sink's host {host} cannot be found now ({error}). Mend it, or try again later."
        ) from error


def _check_token(token: str | None) -> str | None:
    # An error about a bad header would repeat the token, so it never gets that far.
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise SinkRefused("The sink's token holds white space or characters outside ASCII. Set it again without them.")
    return token


def _read_retry_after_s(response: httpx.Response) -> float | None:
    said = response.headers.get("retry-after", "")
    if said.isdecimal():
        return float(said)
    try:
        at = parsedate_to_datetime(said)
    except ValueError:
        return None
    return (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
