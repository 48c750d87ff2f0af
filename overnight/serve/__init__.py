"""The inbox over HTTP: requests are taken in and looked up; nothing is asked of a model here."""

from __future__ import annotations

from overnight.serve.app import Terms, make_app, parse_rate
from overnight.serve.tokens import Tokens, add_token

__all__ = ["Terms", "Tokens", "add_token", "make_app", "parse_rate"]
