"""A model is named PROVIDER:NAME: where it is reached, and whether it can be used at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from overnight.failures import ModelRefused
from overnight.llm import local

#: For each remote provider: the variables of its base URL and its key, and the default base URL.
_REMOTE = {
    "openai": ("OPENAI_BASE_URL", "OPENAI_API_KEY", "https://api.openai.com/v1"),
    "anthropic": ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "https://api.anthropic.com"),
}


@dataclass(frozen=True)
class ModelRef:
    """A model as the user names it."""

    provider: str
    name: str

    def __str__(self) -> str:
        return f"{self.provider}:{self.name}"


def parse_model(ref: str) -> ModelRef:
    """
    Read PROVIDER:NAME.

    Raises:
        ModelRefused: The provider does not exist, or the name is empty.
    """
    provider, _, name = ref.partition(":")
    if provider not in {"local", *_REMOTE} or not name.strip():
        raise ModelRefused(
            f"Model {ref!r} is not PROVIDER:NAME with a provider that exists (local, openai, anthropic). "
            f"Name one, such as local:{local.MODEL_NAME}."
        )
    return ModelRef(provider, name.strip())


def endpoint_of(model: ModelRef) -> str:
    """
    Where the model answers: the provider's base URL, or for a local model the hash of its file.

    Raises:
        ModelRefused: The base URL in the environment is not a plain http(s) address.
    """
    if model.provider == "local":
        return f"sha256:{local.MODEL_SHA256}"
    variable, _, default = _REMOTE[model.provider]
    url = (os.environ.get(variable, "").strip() or default).rstrip("/")
    parts = urlsplit(url)
    # The endpoint is part of the prompt hash and is recorded: it may not carry a secret.
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or "@" in parts.netloc:
        raise ModelRefused(
            f"{variable} is not a plain http(s) address (no user, password or query). Set it like {default}."
        )
    return url


def name_variable(model: ModelRef) -> str:
    """Which variable of the environment says where the model is reached; of a local one the program itself does."""
    return "the model's file" if model.provider == "local" else _REMOTE[model.provider][0]


def api_key_of(model: ModelRef) -> str:
    """
    The provider's key from the environment; empty where an OpenAI-compatible server may do without.

    Raises:
        ModelRefused: The key is missing, or cannot stand in a header.
    """
    _, variable, default = _REMOTE[model.provider]
    key = os.environ.get(variable, "").strip()
    if not key and (model.provider != "openai" or endpoint_of(model) == default):
        raise ModelRefused(f"{model} needs a key, and {variable} is not set. Set it, or choose another --model.")
    if not key.isascii() or not key.isprintable():
        raise ModelRefused(f"{variable} holds characters that no key has. Copy the key again.")
    return key


def check_ready(model: ModelRef) -> None:
    """
    Refuse a model that cannot be asked, before any row is read.

    Raises:
        ModelRefused: The key or the model's file is missing, or the local name is unknown.
    """
    if model.provider == "local":
        local.check_installed(model.name)
    else:
        endpoint_of(model)
        api_key_of(model)
