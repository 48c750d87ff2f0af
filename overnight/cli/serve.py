"""`overnight serve`: the inbox over HTTP, until it is ended; and the tokens of those who may use it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from overnight.failures import OvernightError

if TYPE_CHECKING:
    from overnight.settings import Settings

#: How long the ledger may be away before a client is told so.
_PATIENCE_S = 5.0


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=4280, show_default=True, help="0: any free one.")
@click.option("--rate", help="How often one client may ask, such as 10/second.  [default: OVERNIGHT_SERVE_RATE]")
@click.option("--new-token", metavar="NAME", help="Make a token for the client NAME, show it once, and end.")
def serve(host: str, port: int, rate: str | None, new_token: str | None) -> None:
    """Take requests over HTTP: POST a row, GET its state and, once released, its answer."""
    from overnight.settings import Settings  # noqa: PLC0415 - late: `--help` is quick

    settings = Settings.from_env()
    path = settings.serve_tokens or settings.home / "serve-tokens"
    if new_token is not None:
        _show_token(path, new_token)
        return
    _serve(host, port, rate or settings.serve_rate, path, settings)


def _show_token(path: Path, name: str) -> None:
    from overnight.serve.tokens import add_token  # noqa: PLC0415 - late: not every command needs it

    token = add_token(path, name)
    click.echo(
        f"{name} sends this token, which is shown once. Its SHA-256 is a line of {path}: who deletes the line ends it.",
        err=True,
    )
    click.echo(token)


def _serve(host: str, port: int, rate: str, path: Path, settings: Settings) -> None:
    from overnight.ledger import Ledger  # noqa: PLC0415 - late: not every command needs it
    from overnight.serve import Terms, Tokens, make_app, parse_rate  # noqa: PLC0415 - late: FastAPI takes a while
    from overnight.serve.listening import is_loopback, listen  # noqa: PLC0415 - the same

    terms = Terms(parse_rate(rate), settings.serve_most_bytes, settings.serve_most_queued)
    tokens = Tokens(path)
    if not tokens.read():
        raise OvernightError(f"{path} has no token. Make the first one: overnight serve --new-token NAME")
    if not is_loopback(host):
        click.echo(f"What is sent to {host} is not encrypted. Put a proxy with TLS before it.", err=True)
    ledger = Ledger(settings.ledger_url, patience_s=_PATIENCE_S)
    try:
        app = make_app(ledger, tokens, terms, prompts=Path("prompts"))
        listen(app, host, port, tell=lambda url: click.echo(f"Listening on {url}. Ctrl-C ends it.", err=True))
    finally:
        ledger.close()
