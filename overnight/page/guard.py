"""Who may see the page: a browser that was given its address, and nothing that another page makes it ask for."""

from __future__ import annotations

import secrets
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": with it browsers send the page's own forms with the origin "null", as a stranger's would be.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_CLOSED = "This page opens by the address that `overnight review --web` printed. Open that."


class Guard:
    """
    Refuses what comes by another name, without the token, or from another page; sees to the security headers.

    Args:
        app: What is guarded.
        port: Where it is served: it answers to 127.0.0.1 and localhost at this port.
        token: Part of the first address, then kept in a cookie.
    """

    def __init__(self, app: ASGIApp, *, port: int, token: str) -> None:
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._token = token
        # Browsers keep the cookies of all ports of a host together.
        self._cookie = f"overnight-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the page do it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY)
            await send(message)

        await (self._refuse(scope) or self._app)(scope, receive, send_guarded)

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if headers.get("host", "").lower() not in self._hosts:
            return PlainTextResponse("This page is known by another name.\n", 403)
        if scope["method"] not in ("GET", "HEAD") and not self._is_own(headers):
            return PlainTextResponse("This was sent by another page, and is not taken.\n", 403)
        if self._is_right(parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]):
            return self._welcome()
        kept = cookie_parser(headers.get("cookie", "")).get(self._cookie, "")
        return None if self._is_right(kept) else PlainTextResponse(f"{_CLOSED}\n", 403)

    def _is_own(self, headers: Headers) -> bool:
        """Whether a form was sent by this page, or by no page at all."""
        own = f"http://{headers.get('host', '').lower()}"
        return headers.get("origin", own) == own and headers.get("sec-fetch-site", "same-origin") == "same-origin"

    def _is_right(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())

    def _welcome(self) -> Response:
        """Keep the token where no history and no screen shows it."""
        response = RedirectResponse("/", 303)
        response.set_cookie(self._cookie, self._token, path="/", httponly=True, samesite="strict")
        return response
