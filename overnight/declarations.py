"""What the project declares in its pyproject.toml, under [tool.overnight]: terms of models, sinks by name."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overnight.failures import OvernightError
from overnight.records import ModelTerms, OwnSink

_PROJECT = Path("pyproject.toml")
_PRICES = ("input_usd_per_million", "output_usd_per_million")
_BATCH_PRICES = ("batch_input_usd_per_million", "batch_output_usd_per_million")
_RATES = ("requests_per_minute", "tokens_per_minute")
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def read_models() -> tuple[ModelTerms, ...]:
    """What `[tool.overnight.models."PROVIDER:NAME"]` declares, in the order of the file."""
    return tuple(_read_model(model, declared) for model, declared in _read_table("models").items())


def read_sinks() -> dict[str, str | OwnSink]:
    """What `[tool.overnight.sinks]` declares: for each name an address, or a class of the project with its options."""
    return {name: _read_sink(name, declared) for name, declared in _read_table("sinks").items()}


def _read_table(called: str) -> dict[str, Any]:
    try:
        table: Any = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise OvernightError(f"{_PROJECT.absolute()} cannot be read as TOML: {error}. Mend the file.") from error
    # Each level is looked at before it is stepped into: a project may have written anything there.
    for depth, name in enumerate(path := ("tool", "overnight", called), 1):
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise _bad_terms(".".join(path[:depth]), "is not a table")
    return dict(table)


def _read_sink(name: str, declared: Any) -> str | OwnSink:
    where = f"sink {name!r}"
    if not _NAME.fullmatch(name):
        raise _bad_terms(where, "has a name of other than small letters, digits, - and _")
    if isinstance(declared, str):
        return declared
    if not isinstance(declared, dict) or not _CLASS.fullmatch(str(declared.get("class", ""))):
        raise _bad_terms(where, 'is neither an address nor a table with class = "MODULE:CLASS"')
    options = {key: value for key, value in declared.items() if key != "class"}
    if bad := [key for key, value in options.items() if not isinstance(value, str)]:
        raise _bad_terms(f"{bad[0]} of {where}", "is not a text")
    return OwnSink(declared["class"], options)


def _read_model(model: str, declared: Any) -> ModelTerms:
    provider, _, name = model.partition(":")
    if not provider or not name or not isinstance(declared, dict):
        raise _bad_terms(f"tool.overnight.models.{model!r}", "is not a table under the name PROVIDER:NAME")
    known = (*_PRICES, *_RATES, *_BATCH_PRICES)
    if unknown := declared.keys() - {*known}:
        raise _bad_terms(f"{min(unknown)!r} of {model!r}", f"is not one of {', '.join(known)}")
    for pair in (_PRICES, _BATCH_PRICES):
        if len(declared.keys() & {*pair}) == 1:
            missing = min({*pair} - declared.keys())
            raise _bad_terms(f"{missing} of {model!r}", "is missing: prices are declared both or not at all")
    return ModelTerms(
        model,
        input_usd_per_million=_read_price(model, "input_usd_per_million", declared),
        output_usd_per_million=_read_price(model, "output_usd_per_million", declared),
        requests_per_minute=_read_rate(model, "requests_per_minute", declared),
        tokens_per_minute=_read_rate(model, "tokens_per_minute", declared),
        batch_input_usd_per_million=_read_price(model, "batch_input_usd_per_million", declared),
        batch_output_usd_per_million=_read_price(model, "batch_output_usd_per_million", declared),
    )


def _read_price(model: str, key: str, declared: Mapping[str, Any]) -> float | None:
    value = declared.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise _bad_terms(f"{key} of {model!r}", f"is {value!r}, which is not a number of US dollars from 0")
    return float(value)


def _read_rate(model: str, key: str, declared: Mapping[str, Any]) -> int | None:
    value = declared.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _bad_terms(f"{key} of {model!r}", f"is {value!r}, which is not a whole number from 1")
    return value


def _bad_terms(what: str, why: str) -> OvernightError:
    return OvernightError(f"{what} in {_PROJECT.absolute()} {why}. Mend it, or leave it out.")
