"""Another project on the same Prefect server, whose deployments would be taken by those of the same names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from overnight.cli.doctor.asked import PrefectAsked
from overnight.cli.doctor.server import LET_IN, list_declared
from overnight.failures import OvernightError

_HERE = re.compile(r"\{\{\s*\$PWD\s*\}\}")
_MOST = 200


def refuse_neighbour(api_url: str) -> None:
    """
    Make sure that no deployment which is about to be put in place is another folder's.

    Raises:
        OvernightError: One is, or Prefect's server does not say.
    """
    asked = PrefectAsked(api_url)
    try:
        taken = next(_find_taken(asked), None)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        remedy = LET_IN if status == httpx.codes.UNAUTHORIZED else "See its log."
        raise OvernightError(f"Prefect's server at {api_url} answers with status {status}. {remedy}") from error
    except httpx.HTTPError as error:
        raise OvernightError(
            f"Prefect's server at {api_url} does not say what it has ({type(error).__name__}). See its log."
        ) from error
    finally:
        asked.close()
    if taken:
        name, folder = taken
        raise OvernightError(
            f"The deployment {name} on {api_url} is that of {folder}, and would run the code of {Path.cwd()} from now"
            " on. Give this project a server of its own: `PREFECT_API_URL=http://127.0.0.1:PORT/api overnight up`; or,"
            f" where it is to take that one's place, delete each of those first: `prefect deployment delete {name}`."
        )


def _find_taken(asked: PrefectAsked) -> Iterator[tuple[str, str]]:
    """The deployments of these names that run in another folder, each with that."""
    wanted = {(_name_flow(d), str(d.get("name"))): _find_folder(d.get("pull")) for d in list_declared()}
    names = sorted({name for _, name in wanted})
    deployments = {"name": {"any_": names}}
    for found in asked.find("/deployments/filter", deployments=deployments, limit=_MOST) or []:
        name = _name_flow(found), str(found.get("name"))
        ours, theirs = wanted.get(name), _find_folder(found.get("pull_steps"))
        # What was moved left nothing behind that it could be taken from.
        if ours and theirs and theirs.resolve() != ours.resolve() and (theirs.exists() or not asked.is_here):
            yield "/".join(name), str(theirs)


def _name_flow(deployment: dict[str, Any]) -> str:
    """By the function: a nightly flow is named as that is."""
    return re.split(r"[.:]", str(deployment.get("entrypoint")))[-1].replace("_", "-")


def _find_folder(steps: Any) -> Path | None:
    """Where the last of these steps goes; None where none does, or by what only Prefect can fill in."""
    inside = [given for step in steps or [] if isinstance(step, dict) for given in step.values()]
    named = [str(given["directory"]) for given in inside if isinstance(given, dict) and given.get("directory")]
    folder = _HERE.sub(lambda _: str(Path.cwd()), named[-1]) if named else "{{"
    return None if "{{" in folder else Path(folder)
