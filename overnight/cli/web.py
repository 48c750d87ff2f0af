"""`overnight review --web`: the review page on this machine's loopback, until all is decided."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable

import click
import uvicorn

from overnight.approve import Decision
from overnight.cli.resume import resume_run
from overnight.cli.sitting import describe_end, sit_down
from overnight.failures import ReviewRefused
from overnight.ledger import Ledger
from overnight.page import Review, make_app
from overnight.records import Release
from overnight.settings import Settings

#: How long requests that are under way may take once the page ends.
_GRACE_S = 2


def serve_review(release: Release, settings: Settings, ledger: Ledger, *, reviewer: str | None) -> int:
    """
    Have a person read the release in a browser, and continue the run; the exit code.

    Raises:
        ReviewRefused: It was broken off, with the verdicts given so far kept; or it was decided elsewhere.
    """
    decision = read_on_page(release, settings, ledger, tell=_announce, reviewer=reviewer)
    click.echo(f"{decision.words} The decision on run {release.run_id} is recorded.", err=True)
    return resume_run(release.run_id, release, as_json=False)


def read_on_page(
    release: Release,
    settings: Settings,
    ledger: Ledger,
    *,
    tell: Callable[[str], None],
    reviewer: str | None = None,
) -> Decision:
    """
    The decision that ends the review, once the browser knows it.

    Args:
        release: With the items of its open round.
        settings: Whose home and key.
        ledger: Where the decision is recorded.
        tell: Is given the page's address, as soon as it answers.
        reviewer: Whose name is filled in beforehand.

    Raises:
        ReviewRefused: It was broken off, or decided elsewhere.
    """
    review = sit_down(release, settings, ledger, channel="page", reviewer=reviewer)
    _serve(review, tell)
    if review.decision is None or not review.decision.is_final:
        run_id = release.run_id
        raise ReviewRefused(
            describe_end(review, f"The page of run {run_id} was closed", f"overnight review {run_id} --web")
        )
    return review.decision


def _serve(review: Review, tell: Callable[[str], None]) -> None:
    """Serve the page until it is not needed any more, or Ctrl-C."""
    token = secrets.token_urlsafe(24)
    # Named as TCP, or asyncio leaves the delay on that makes each page wait for 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        # It listens before its address is told: a browser that comes early waits.
        listening.listen()
        port = listening.getsockname()[1]

        def end_in(seconds: float) -> None:
            asyncio.get_running_loop().call_later(seconds, setattr, server, "should_exit", True)

        app = make_app(review, port=port, token=token, end_in=end_in)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        server = uvicorn.Server(config)
        tell(f"http://127.0.0.1:{port}/?token={token}")
        try:
            server.run(sockets=[listening])
        except KeyboardInterrupt:
            return


def _announce(url: str) -> None:
    click.echo(f"Read it on this page, which only this machine can open: {url}", err=True)
    click.echo("It is served until you have decided. Ctrl-C ends it; your verdicts are kept.", err=True)
    if not os.environ.get("OVERNIGHT_NO_BROWSER") and _has_display():
        # Some browsers do not return before they are closed.
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
