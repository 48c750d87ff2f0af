"""The page's routes: plain forms, each answered by where to go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from overnight.page.guard import Guard
from overnight.page.pages import Pages
from overnight.page.review import Review


def make_app(review: Review, *, port: int, token: str, end_in: Callable[[float], None]) -> ASGIApp:
    """
    The page as an application.

    Args:
        review: What is read.
        port: Where it is served.
        token: What its first address holds.
        end_in: Called once all is decided, with the seconds after which nobody needs the page any more.
    """
    page = Pages(review, end_in)
    posts = {
        "/item/{number:int}": page.judge,
        "/item/{number:int}/wrong": page.give_reason,
        "/item/{number:int}/edit": page.save_edit,
        "/undo": page.undo,
        "/anew": page.begin_anew,
        "/decision": page.decide,
        "/result": page.begin_next,
    }
    gets = {
        "/": page.show_start,
        "/item/{number:int}": page.show_item,
        "/item/{number:int}/wrong": page.show_item,
        "/item/{number:int}/edit": page.show_item,
        "/decision": page.show_summary,
        "/result": page.show_result,
    }
    routes = [Route(path, _in_turn(page.lock, do), methods=["POST"]) for path, do in posts.items()]
    routes += [Route(path, show) for path, show in gets.items()]
    static = Mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    return Guard(Starlette(routes=[*routes, static]), port=port, token=token)


def _in_turn(
    lock: asyncio.Lock, do: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """One at a time: while a decision is recorded, no verdict changes."""

    async def answer(request: Request) -> Response:
        async with lock:
            return await do(request)

    return answer
