"""Secrets: removed where texts enter, so that they are neither recorded nor sent."""

from __future__ import annotations

import os
import re
from dataclasses import is_dataclass, replace
from typing import TypeVar

V = TypeVar("V")

MASK = "[secret removed]"
#: Variables of the environment whose very values are removed, of whatever form they are.
_OWN = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")
#: A shorter key is a placeholder of a server that asks for none ("ollama"), and a word that a text may hold.
_LEAST_OWN = 8
#: Where a key may begin: at a word, also one that follows an escaped character of JSON.
_START = r"(?:\b|(?<=\\[nrtbf])|(?<=\\u[0-9a-fA-F]{4}))"
#: Keys as their issuers make them: a fixed beginning, then so many characters that no word or id is taken for one. What
#: holds for a text holds for its JSON form: no quote and no half of an escape is taken away.
_SECRETS = re.compile(
    # OpenAI, Anthropic, OpenRouter: with a capital and a digit somewhere, or so long a run that it is of no address.
    _START + r"(?:sk-(?:(?:proj|svcacct|admin|None|ant|or)-(?=[A-Za-z0-9_-]{20})"
    r"(?=[a-z0-9_-]{0,99}[A-Z])(?=[A-Za-z_-]{0,99}[0-9])[A-Za-z0-9_-]+"
    r"|(?:or-v[0-9]-)?(?:(?=[a-z0-9]{0,99}[A-Z])(?=[A-Za-z]{0,99}[0-9])[A-Za-z0-9]{20}|[A-Za-z0-9]{32})[A-Za-z0-9_-]*)"
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,}"
    r"|glpat-[A-Za-z0-9_-]{20,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}"  # Stripe
    r"|hf_[A-Za-z0-9]{30,}|pnu_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,})"
    # JSON web tokens. Not after a hyphen: each one of a long row would be a place to begin.
    r"|(?:(?<![\w-])|(?<=\\[nrtbf]))eyJ[A-Za-z0-9_-]{10,}+\.eyJ[A-Za-z0-9_-]{10,}+\.[A-Za-z0-9_-]{10,}"
    # Up to its end, or as far as it goes on; another beginning ends it, or many would take for ever.
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"(?:(?:[A-Za-z0-9+/=\s:,.]|-(?!----BEGIN)|\\[nrt])*?-----END [A-Z ]*PRIVATE KEY-----"
    r"|(?:[A-Za-z0-9+/=\r\n]|\\[nr])*)"
)


def mask_secrets(text: str) -> str:
    """The text, or the JSON of one, without what looks like a provider's key, a token or a private key."""
    return _SECRETS.sub(MASK, text) if _may_hold_secret(text) else text


def _may_hold_secret(text: str) -> bool:
    """Whether a beginning of theirs stands in it, after a character of it: this spares most texts the pattern."""
    return (
        (
            "-" in text
            and ("sk-" in text or "xox" in text or "-----BEGIN" in text or "glpat-" in text or "pypi-" in text)
        )
        or ("_" in text and ("gh" in text or "k_" in text or "hf_" in text or "pnu_" in text or "_pat_" in text))
        or ("A" in text and ("AIza" in text or "AKIA" in text or "ASIA" in text))
        or ("J" in text and "eyJ" in text)
    )


class Mask:
    """
    Removes secrets of a known form, and those that this process was given, whatever their form.

    Args:
        given: Secrets besides those of the environment.
    """

    def __init__(self, *given: str) -> None:
        own = (os.environ.get(name, "").strip() for name in _OWN)
        known = {*(key for key in own if len(key) >= _LEAST_OWN), *filter(None, given)}
        # The longest first: one may begin with another.
        self._known = sorted(known, key=len, reverse=True)

    def hide(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._known:
            text = text.replace(secret, MASK)
        return mask_secrets(text)

    def hide_bytes(self, data: bytes) -> bytes:
        """The same of a body's bytes; a body without secrets stays as it is, byte for byte."""
        text = data.decode("utf-8", "surrogateescape")
        hidden = self.hide(text)
        return data if hidden == text else hidden.encode("utf-8", "surrogateescape")

    def hide_fields(self, record: V) -> V:
        """A frozen dataclass without secrets in its texts."""
        assert is_dataclass(record) and not isinstance(record, type)  # noqa: S101, PT018 - narrows the type
        texts = {n: v for n, v in vars(record).items() if isinstance(v, str)}
        changed = {n: hidden for n, v in texts.items() if (hidden := self.hide(v)) != v}
        return replace(record, **changed) if changed else record
