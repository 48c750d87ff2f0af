"""The project's own code: a file's text made a module, and its errors told in a line."""

from __future__ import annotations

import importlib.util
import sys
import threading
from functools import lru_cache
from types import ModuleType

from overnight.keys import digest_parts

_LINE_CHARS = 300
_IMPORTING = threading.Lock()


def import_text(code: str, path: str) -> ModuleType:
    """The module that the text makes, under a private name; whatever it raises comes through."""
    with _IMPORTING:
        return _import_once(code, path)


@lru_cache(maxsize=64)
def _import_once(code: str, path: str) -> ModuleType:
    name = f"_overnight_project_{digest_parts('module', [path, code])[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a path that ends in .py has a loader"  # noqa: S101 - narrows the type
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up there.
    sys.modules[name] = module
    try:
        # The loader would read the file once more, or bytecode beside it: neither need be the text that was pinned.
        exec(compile(code, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the project's own file
    except BaseException:
        del sys.modules[name]
        raise
    return module


def tell_error(error: Exception) -> str:
    """An error of the project's code, in a line."""
    return shorten(f"{type(error).__name__}: {error}").rstrip(".")


def shorten(text: str) -> str:
    """A text as one line of bearable length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LINE_CHARS else line[: _LINE_CHARS - 1] + "…"
