"""The routes of `overnight serve`, and the OpenAPI document that they are held against."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import limits
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from limits import RateLimitItem
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from overnight.failures import OvernightError
from overnight.ledger import Ledger
from overnight.serve.counter import Counter
from overnight.serve.document import BEARER, HEADERS, describe, list_problems
from overnight.serve.guard import HEALTH, Guard
from overnight.serve.problems import Refused
from overnight.serve.shapes import Accepted, Health, Standing
from overnight.serve.shelf import Shelf
from overnight.serve.tokens import Tokens


@dataclass(frozen=True)
class Terms:
    """What is taken in, how much of it and how often."""

    #: How often one client may ask.
    rate: RateLimitItem
    #: Of a body.
    most_bytes: int = 2**20
    #: Requests to one prompt that may wait for a run.
    most_queued: int = 100_000
    #: Requests under way, of all clients.
    most_at_once: int = 256
    #: How long a body may take to arrive.
    body_s: float = 10.0


def parse_rate(text: str) -> RateLimitItem:
    """
    How often, from words such as 600/minute.

    Raises:
        OvernightError: It is no rate, or none at all.
    """
    try:
        rate = limits.parse(text)
    except ValueError:
        rate = None
    if rate is None or rate.amount < 1:
        raise OvernightError(f"{text!r} is no rate. Give a number and a time, such as 10/second or 600/minute.")
    return rate


def make_app(ledger: Ledger, tokens: Tokens, terms: Terms, *, prompts: Path) -> ASGIApp:
    """
    The inbox as an application.

    Args:
        ledger: Where requests are kept.
        tokens: Who may ask.
        terms: How much, and how often.
        prompts: The folder of the prompts that may be asked.
    """
    shelf = Shelf(prompts)
    # No pages that show the document: they load their scripts from elsewhere.
    app = FastAPI(title="overnight", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)
    _add_routes(app, Counter(ledger, shelf, most_queued=terms.most_queued))
    app.add_exception_handler(Refused, _answer_refused)
    app.add_exception_handler(HTTPException, _answer_unknown)
    routes = app.routes
    app.openapi = lambda: describe(app.title, app.version, routes, shelf)  # type: ignore[method-assign]
    return Guard(
        app,
        tokens=tokens,
        rate=terms.rate,
        most_bytes=terms.most_bytes,
        most_at_once=terms.most_at_once,
        body_s=terms.body_s,
    )


def _add_routes(app: FastAPI, counter: Counter) -> None:
    @app.post(
        "/v1/requests/{prompt}",
        status_code=202,
        responses={
            202: {"model": Accepted, "description": "It is on disk, and waits.", "headers": HEADERS["Location"]},
            200: {"model": Accepted, "description": "It is settled already.", "headers": HEADERS["Location"]},
            **list_problems(401, 404, 408, 413, 415, 422, 429, 503),
        },
        openapi_extra=BEARER,
    )
    async def submit(prompt: str, request: Request) -> Response:
        """Hand a row in. The same row again has the same key, and is not paid for again."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "The body is not declared as JSON. Send Content-Type: application/json.")
        status, answer = await counter.take(prompt, await request.body(), request.state.client)
        return JSONResponse(answer, status, {"Location": answer["url"]})

    @app.get(
        "/v1/requests/{prompt}/{key}",
        responses={200: {"model": Standing}, **list_problems(401, 404, 408, 413, 429, 503)},
        openapi_extra=BEARER,
    )
    async def show(prompt: str, key: str) -> Response:
        """Where a request stands, and its answer once a person has let it out."""
        return Response(await counter.show(prompt, key), media_type="application/json")

    @app.get(HEALTH, responses=list_problems(408, 413))
    async def check_health() -> Health:
        """That the server answers; it needs no token."""
        return Health(status="ok")


async def _answer_refused(request: Request, error: Any) -> Response:  # noqa: ARG001 - Starlette's signature
    return error.respond()  # type: ignore[no-any-return]


async def _answer_unknown(request: Request, error: Any) -> Response:
    """What the router says of paths and methods that are none."""
    status = error.status_code
    detail = f"There is no {request.method} {request.url.path[:200]}. GET /openapi.json lists what there is."
    return Refused(status, detail, error.headers).respond()
