"""What is refused, as RFC 9457 says it: a problem in JSON, whose detail is one line."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from pydantic import BaseModel
from starlette.responses import JSONResponse

PROBLEM_TYPE = "application/problem+json"


class Problem(BaseModel):
    """Why a request was not taken."""

    title: str
    status: int
    detail: str


class Refused(Exception):
    """
    The request is answered by a problem.

    Args:
        status: The HTTP status.
        detail: One line: what happened, why, what to do.
        headers: That the status asks for.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = " ".join(detail.split())
        self.headers = dict(headers or {})

    def respond(self, headers: Mapping[str, str] | None = None) -> JSONResponse:
        """The answer, with further headers."""
        problem = Problem(title=HTTPStatus(self.status).phrase, status=self.status, detail=self.detail)
        return JSONResponse(
            problem.model_dump(), self.status, {**self.headers, **(headers or {})}, media_type=PROBLEM_TYPE
        )


def come_back(status: int, detail: str, after_s: float) -> Refused:
    """A refusal for now: the same request may be taken in so many seconds."""
    return Refused(status, detail, {"Retry-After": str(max(1, round(after_s + 0.5)))})
