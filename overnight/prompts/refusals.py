"""How a prompt is refused: its name, the file, why, and what to do, on one line."""

from __future__ import annotations

from typing import NoReturn

from overnight.failures import PromptRefused


def refuse(name: str, file: str, why: str, remedy: str) -> NoReturn:
    raise PromptRefused(f"Prompt {name!r}, {file}: {' '.join(why.split())}. {remedy}")
