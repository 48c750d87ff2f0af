"""What is not shown: secrets, which are not recorded either, and values that a prompt declares private."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

V = TypeVar("V")

MASK = "[secret removed]"
#: Shorter values stand in other texts by chance; they are hidden in their own field alone.
_LEAST_CHARS = 4
#: Keys as their issuers make them: a fixed beginning, then so many characters that no word or id is taken for one.
_SECRETS = re.compile(
    r"\bsk-(?:ant-|proj-|svcacct-|admin-|or-)?[A-Za-z0-9_-]{20,}"  # OpenAI, Anthropic, OpenRouter
    r"|\bAIza[A-Za-z0-9_-]{35}"  # Google
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS
    r"|\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{50,}"
    r"|\bglpat-[A-Za-z0-9_-]{20,}"
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}"  # Stripe
    r"|\bhf_[A-Za-z0-9]{30,}|\bpnu_[A-Za-z0-9]{36}|\bpypi-[A-Za-z0-9_-]{50,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"  # JSON web tokens
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----|[\s\S]*)"
)
#: One of them stands in every text with a secret: looking for these first spares most texts the pattern.
_BEGINNINGS = (
    "sk-", "AIza", "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "k_live_",
    "k_test_", "hf_", "pnu_", "pypi-", "eyJ", "-----BEGIN",
)  # fmt: skip


def mask_secrets(text: str) -> str:
    """The text without what looks like a provider's key, a token or a private key."""
    if not any(beginning in text for beginning in _BEGINNINGS):
        return text
    return _SECRETS.sub(MASK, text)


class Veil:
    """
    Hides the private values of one row wherever they stand, and puts them back.

    Args:
        private: Inputs, or fields of the output, whose values are not shown.
        given: The row's input.
        output: Its answer, where there is one.
    """

    def __init__(
        self, private: Collection[str], given: Mapping[str, Any] | None, output: Mapping[str, Any] | None = None
    ) -> None:
        self._private = frozenset(private)
        #: By what is shown instead of them: "[private: NAME]", and where input and output have one name, of each.
        self._values: dict[str, Any] = {}
        for name in sorted(self._private):
            for values, mark in ((given, f"[private: {name}]"), (output, f"[private: {name} of the answer]")):
                if values and values.get(name) not in (None, ""):
                    self._values[mark] = values[name]
        texts = {mark: str(v) for mark, v in self._values.items() if isinstance(v, str | int | float)}
        # The longest first: one value may stand within another.
        found = sorted(((text, mark) for mark, text in texts.items() if len(text) >= _LEAST_CHARS), key=_by_length)
        self._marks = dict(reversed(found))
        self._pattern = re.compile("|".join(re.escape(text) for text, _ in found)) if found else None

    def hide_text(self, text: str) -> str:
        """The text with each private value by its mark."""
        return self._pattern.sub(lambda match: self._marks[match[0]], text) if self._pattern else text

    def hide(self, value: V) -> V:
        """The same of any value of JSON."""
        hidden: V = _map_texts(value, self.hide_text) if self._pattern else value
        return hidden

    def hide_input(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The row's input as it may be shown."""
        return {name: f"[private: {name}]" if self._is_hidden(name, v) else self.hide(v) for name, v in given.items()}

    def hide_output(self, output: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer as it may be shown."""
        mark = "[private: {} of the answer]"
        return {n: mark.format(n) if self._is_hidden(n, v) else self.hide(v) for n, v in output.items()}

    def put_back(self, value: V) -> V:
        """A value that was shown, with what was hidden in it: of a correction."""
        whole: V = _map_texts(value, self._put_back_text)
        return whole

    def _is_hidden(self, name: str, value: Any) -> bool:
        return name in self._private and value not in (None, "")

    def _put_back_text(self, text: str) -> Any:
        if text in self._values:
            return self._values[text]
        for mark, value in self._values.items():
            text = text.replace(mark, str(value))
        return text


def _by_length(pair: tuple[str, str]) -> int:
    return -len(pair[0])


def _map_texts(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _map_texts(v, change) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_map_texts(v, change) for v in value]
    return value
