"""Where the code of a flow is: what stands in prefect.yaml as `entrypoint`."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def has_code(entrypoint: str) -> bool:
    """
    Whether the flow's module or file can be found from here.

    Args:
        entrypoint: MODULE.FUNCTION or FILE:FUNCTION.
    """
    path, colon, _ = entrypoint.rpartition(":")
    if colon:
        return Path(path).exists()
    try:
        return importlib.util.find_spec(entrypoint.rpartition(".")[0]) is not None
    except (ModuleNotFoundError, ValueError):
        return False
