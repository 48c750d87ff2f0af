"""What is asked of a model, and what came back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Usage:
    """Tokens as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    #: Of the input tokens, those read from and written to the provider's cache.
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    #: Of the output tokens, those spent on reasoning.
    reasoning_tokens: int = 0


@dataclass(frozen=True)
class Correction:
    """An answer that was not accepted, and what was wrong with it in words for the model."""

    #: The answer's text; None where there was none.
    answer: str | None
    complaint: str


@dataclass(frozen=True)
class Ask:
    """What a model is asked, before a provider's format is put on it."""

    system: str | None
    user: str
    #: The JSON schema that the answer must meet.
    schema: Mapping[str, Any]
    parameters: Mapping[str, Any]
    #: Where it is asked again with what was wrong.
    correction: Correction | None = None


@dataclass(frozen=True)
class Reply:
    """What came back from a call, whole."""

    status: int
    #: The response's body as received.
    body: bytes
    #: Allow-listed headers only, names in lower case.
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    stop_reason: str | None = None
    model_served: str | None = None
    request_id: str | None = None
    usage: Usage = field(default_factory=Usage)
