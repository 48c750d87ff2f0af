"""Prefect's API, as the doctor asks it."""

from __future__ import annotations

import os
from typing import Any

import httpx

_MOST = 200
_HERE = ("127.0.0.1", "localhost", "::1")


class PrefectAsked:
    """Prefect's API, asked by plain HTTP: its client takes seconds to import."""

    def __init__(self, api_url: str) -> None:
        self.url = api_url
        user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
        auth = (user, password) if user else None
        self._client = httpx.Client(base_url=api_url, auth=auth, timeout=10.0, trust_env=False)

    @property
    def is_here(self) -> bool:
        """Whether it is a server of this machine."""
        return self._client.base_url.host in _HERE

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def get(self, path: str) -> httpx.Response:
        """The answer to a GET."""
        return self._client.get(path)

    def find(self, path: str, **body: Any) -> Any:
        """What a filter finds; None where there is no such thing."""
        answer = self._client.post(path, json=body)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
        return answer.json()

    def list_deployments(self) -> list[dict[str, Any]]:
        """The deployments that the server has."""
        return self.find("/deployments/filter", limit=_MOST) or []
