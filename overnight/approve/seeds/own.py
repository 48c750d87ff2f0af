"""A prompt's own ways to make an answer wrong: the public functions of prompts/NAME/seeds.py."""

from __future__ import annotations

import copy
import functools
import inspect
import random
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import orjson

from overnight.approve.seeds.making import Mutator
from overnight.checks.project_code import import_text, tell_error
from overnight.failures import PromptRefused

_FILE = "seeds.py"
#: An input, an output, another row's output, a source of chance.
_N_ARGUMENTS = 4


def load_mutators(name: str, folder: Path = Path("prompts")) -> list[Mutator]:
    """
    The mutators of a prompt in the order of its seeds.py; none where there is no such file.

    Each is a function that the file itself defines, under a name without a leading underscore.

    Raises:
        PromptRefused: The file cannot be read or imported, or a function does not take the four arguments. A mutator
            raises it where the function does on a row, or returns neither None nor an output.
    """
    path = folder / name / _FILE
    if not path.exists():
        return []
    module = _import_module(name, path)
    return [_guard(name, function) for function in _list_functions(name, module)]


def _import_module(name: str, path: Path) -> ModuleType:
    try:
        code = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PromptRefused(f"Prompt {name}: {path} cannot be read ({why}). Mend it, or take it away.") from error
    # Importing runs the project's code, which may raise anything: its errors enter here, and are translated once.
    try:
        return import_text(code, str(path))
    except Exception as error:
        raise PromptRefused(
            f"Prompt {name}: {path} cannot be imported ({tell_error(error)}). Mend it, or take it away."
        ) from error


def _list_functions(name: str, module: ModuleType) -> list[Any]:
    public = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    own = [f for f in public.values() if inspect.isfunction(f) and f.__module__ == module.__name__]
    for function in own:
        try:
            inspect.signature(function).bind(*range(_N_ARGUMENTS))
        except TypeError as error:
            raise PromptRefused(
                f"Prompt {name}: {function.__name__} in {_FILE} cannot be called with an input, an output, another "
                "row's output and a random.Random. Write it so, or begin its name with an underscore."
            ) from error
    return own


def _guard(name: str, function: Any) -> Mutator:
    """The function, with copies to work on, and its faults told as the prompt's."""

    @functools.wraps(function)
    def mutate(
        given: Mapping[str, Any], output: Mapping[str, Any], other: Mapping[str, Any], rng: random.Random
    ) -> Mapping[str, Any] | None:
        # As above: this is the project's code.
        try:
            mutated = function(*copy.deepcopy((dict(given), dict(output), dict(other))), rng)
        except Exception as error:
            raise PromptRefused(
                f"Prompt {name}: {function.__name__} in {_FILE} raised {tell_error(error)} on a row. "
                "Mend it for values like that one's."
            ) from error
        return _read_output(name, function.__name__, mutated)

    return mutate


def _read_output(name: str, function: str, mutated: Any) -> Mapping[str, Any] | None:
    if mutated is None:
        return None
    if not isinstance(mutated, Mapping):
        _refuse_output(name, function, type(mutated).__name__)
    try:
        plain: dict[str, Any] = orjson.loads(orjson.dumps(dict(mutated)))
    except TypeError as error:
        _refuse_output(name, function, f"what JSON cannot hold ({tell_error(error)})", error)
    return plain


def _refuse_output(name: str, function: str, what: str, cause: Exception | None = None) -> NoReturn:
    raise PromptRefused(
        f"Prompt {name}: {function} in {_FILE} returned {what} where None or an output is due. Mend it."
    ) from cause
