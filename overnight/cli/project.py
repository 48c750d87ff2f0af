"""A project's flows, found by name in the current folder, as a build tool finds its targets."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overnight.cli.tasks import refuse_misfit
from overnight.failures import OvernightError

if TYPE_CHECKING:
    from prefect import Flow


def find_flow_module(name: str) -> str:
    """
    The module in flows/ that the name means: its own name, with - for _, or the only one that starts so.

    Raises:
        OvernightError: There is no flows/ here, its tasks/ is of another version, or the name means none or several.
    """
    folder = Path("flows")
    known = sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))
    if not known:
        raise OvernightError(f"There are no flows in {folder.absolute()}. Go to a project's folder and try again.")
    # Here, before a server is started for it.
    refuse_misfit(Path())
    wanted = name.replace("-", "_")
    found = [k for k in known if k == wanted] or [k for k in known if k.startswith(wanted)]
    if len(found) != 1:
        names = "no flow" if not found else f"{len(found)} flows"
        raise OvernightError(f"{name!r} names {names} of this project. Its flows are {', '.join(known)}.")
    return found[0]


def load_flow(module: str) -> Flow[Any, Any]:
    """The flow of a module in flows/: the one that has the module's name."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        flow = getattr(importlib.import_module(f"flows.{module}"), module, None)
    except (ImportError, SyntaxError) as error:
        raise OvernightError(
            f"flows/{module}.py cannot be imported ({type(error).__name__}: {error})."
            f" `python -m flows.{module}` shows where."
        ) from error
    if flow is None:
        raise OvernightError(f"flows/{module}.py has no flow named {module}. Give its function the name of the file.")
    if not getattr(getattr(flow, "fn", None), "is_nightly", False):
        raise OvernightError(
            f"flows/{module}.py is not made with @nightly_flow: it has no run that could be reviewed. Leave it to its"
            " schedule, or start its deployment in the Prefect UI."
        )
    found: Flow[Any, Any] = flow
    return found


def fit_parameters(flow: Flow[Any, Any], given: dict[str, Any]) -> dict[str, Any]:
    """
    The options that were given, as parameters of the flow.

    Raises:
        OvernightError: The flow has no such parameter.
    """
    wanted = {name: value for name, value in given.items() if value is not None}
    takes = inspect.signature(flow.fn).parameters
    for name in wanted:
        if name not in takes:
            raise OvernightError(f"The flow {flow.name} takes no --{name}. It takes {', '.join(takes)}.")
    return wanted
