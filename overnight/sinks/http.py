"""An HTTP receiver that takes one row a request and dedupes on the delivery key."""

from __future__ import annotations

import functools
import logging
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import tenacity

from overnight.failures import SinkRefused
from overnight.records import Payload
from overnight.sinks.addresses import find_address
from overnight.sinks.contract import RowSink
from overnight.sinks.errors import DeliveryDeferred, DeliveryFailed

# They would log what a receiver says, which may repeat the credential.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_TIMEOUT_S = 30.0
_MOST_WAIT_S = 60.0
_N_ATTEMPTS = 4
_RETRIED = frozenset({408, 425, 429})
#: They speak of the address or the credential, not of the row: no row is given up for them.
_SINK_FAULTS = frozenset({401, 403, 404, 405, 407})


class _TryAgain(Exception):
    """An attempt that settled nothing; the message says what happened."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class HttpSink(RowSink):
    """POSTs exactly the payload's bytes under `Idempotency-Key`; follows no redirect, reads no proxy settings."""

    effect = "irreversible"
    operation = "post"
    dedupes = True

    def __init__(
        self, name: str, *, allow_hosts: frozenset[str], credential: str | None = None, retry_base_s: float = 1.0
    ) -> None:
        self._name = name
        self._url = _parse_url(name)
        # As it is looked up and verified; `host` would be the decoded form of a name beyond ASCII.
        self._host = self._url.raw_host.decode("ascii")
        self._allow_hosts = allow_hosts
        self._token = _check_token(credential)
        self._backoff = tenacity.wait_random_exponential(multiplier=retry_base_s, max=_MOST_WAIT_S)
        find_address(self._host, allow_hosts)
        #: Where the row is sent that is sent now; None: to be looked up, and judged.
        self._address: str | None = None
        self._client = httpx.Client(
            timeout=_TIMEOUT_S, trust_env=False, follow_redirects=False, verify=_read_certificates()
        )

    def send(self, payload: Payload) -> str:
        """
        POST one row; the status that confirmed it.

        Raises:
            DeliveryFailed: The receiver refused for good.
            DeliveryDeferred: No attempt of four settled it; it may be sent again later.
            SinkRefused: The host has come to lie where no row may go.
        """
        attempts = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_N_ATTEMPTS),
            wait=self._wait_s,
            retry=tenacity.retry_if_exception_type(_TryAgain),
            reraise=True,
        )
        self._address = None
        try:
            return attempts(self._post, payload)
        except _TryAgain as error:
            raise DeliveryDeferred(
                f"Row {payload.row_id} may not have reached {self._name} after {_N_ATTEMPTS} attempts ({error}). "
                "The same key cannot arrive twice."
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _post(self, payload: Payload) -> str:
        request = self._make_request(payload)
        try:
            response = self._client.send(request)
        except (httpx.HTTPError, OSError) as error:
            self._address = None
            raise _TryAgain(f"{type(error).__name__}: {self._hide_token(str(error))}") from error
        return self._judge(response, payload)

    def _make_request(self, payload: Payload) -> httpx.Request:
        """
        The request, to the address that was judged: httpx would look the name up once more.

        The receiver is asked by its name all the same, and TLS verifies the name: httpcore has both the greeting and
        the certificate speak of `sni_hostname`, where it is given.
        """
        headers = {
            "host": self._url.netloc.decode("ascii"),
            "content-type": "application/json",
            "idempotency-key": payload.delivery_key,
        }
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        return self._client.build_request(
            "POST",
            self._url.copy_with(host=self._get_address()),
            content=payload.body,
            headers=headers,
            extensions={"sni_hostname": self._host},
        )

    def _get_address(self) -> str:
        if self._address is None:
            try:
                self._address = find_address(self._host, self._allow_hosts)
            except DeliveryDeferred as error:
                raise _TryAgain(str(error)) from error
        return self._address

    def _judge(self, response: httpx.Response, payload: Payload) -> str:
        status = response.status_code
        if response.is_success:
            return f"HTTP {status}"
        if status in _RETRIED or response.is_server_error:
            raise _TryAgain(f"HTTP {status}", _read_retry_after_s(response))
        if status in _SINK_FAULTS or response.is_redirect:
            raise DeliveryDeferred(
                f"{self._name} takes no rows now: HTTP {status}, {self._quote(response)} Check its credential and the"
                " address."
            )
        raise DeliveryFailed(
            f"{self._name} refused row {payload.row_id} with HTTP {status}: {self._quote(response)} "
            "Mend the receiver or the address, then deliver again."
        )

    def _quote(self, response: httpx.Response) -> str:
        """What the receiver said, on one line."""
        return repr(self._hide_token(response.text)[:200])

    def _hide_token(self, text: str) -> str:
        """A receiver that repeats the token must not bring it into a log."""
        return text.replace(self._token, "…") if self._token else text

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _TryAgain) and error.retry_after_s is not None:
            return min(max(error.retry_after_s, 0.0), _MOST_WAIT_S)
        return self._backoff(state)


@functools.cache
def _read_certificates() -> ssl.SSLContext:
    """Whom to trust; read once, which takes as long as sending some dozens of rows."""
    return httpx.create_ssl_context(trust_env=False)


def _parse_url(name: str) -> httpx.URL:
    try:
        return httpx.URL(name)
    except httpx.InvalidURL as error:
        raise SinkRefused(f"The sink {name!r} is not an address ({error}). Give https://HOST/PATH.") from error


def _check_token(token: str | None) -> str | None:
    # An error about a bad header would repeat it, so it never gets that far.
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise SinkRefused(
            "The sink's credential holds white space or characters outside ASCII. Set it again without them."
        )
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
