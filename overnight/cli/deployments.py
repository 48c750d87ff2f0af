"""prefect.yaml edited as text, so that its comments and anchors stay as somebody wrote them."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Collection

import yaml

from overnight.failures import OvernightError

_NAME = re.compile(r"^name: .*$", re.MULTILINE)
_REMEDY = "Mend it, or take --no-flow and write flow and deployment yourself."


def keep_deployments(text: str, *, name: str, flows: Collection[str]) -> str:
    """The text with the project's name, and of its deployments only those of flows in these modules of flows/."""
    lines, items = text.splitlines(keepends=True), _find_items(text)
    starts = [item.start_mark.line for item in items.value]
    ends = [*starts[1:], len(lines)]
    head = "".join(lines[: starts[0]])
    kept = [
        "".join(lines[start:end])
        for start, end, entrypoint in zip(starts, ends, list_entrypoints(text), strict=True)
        if entrypoint.split(".")[1] in flows
    ]
    return _NAME.sub(f"name: {json.dumps(name)}", head, count=1) + "".join(kept).rstrip() + "\n"


def append_deployment(text: str, *, flow: str, description: str) -> str:
    """
    The text with a deployment of this flow after the others; its schedule sleeps until somebody wakes it.

    Raises:
        OvernightError: The text is no prefect.yaml with a list of deployments, or the flow has one already.
    """
    entrypoint = f"flows.{flow}.{flow}"
    known = list_entrypoints(text)
    if entrypoint in known:
        raise OvernightError(f"prefect.yaml deploys {entrypoint} already. Choose another name, or take --no-flow.")
    items, lines = _find_items(text), text.splitlines(keepends=True)
    at = _find_end(items, lines)
    if not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    made = _write_deployment(entrypoint, flow, description, _find_timezone(text))
    indent = " " * items.start_mark.column
    edited = "".join([*lines[:at], "\n", textwrap.indent(made, indent), *lines[at:]])
    if list_entrypoints(edited) != [*known, entrypoint]:
        raise OvernightError(f"prefect.yaml is written in a way that no deployment can be added to. {_REMEDY}")
    return edited


def list_entrypoints(text: str) -> list[str]:
    """
    The entrypoints of the deployments, in the order of the file.

    Raises:
        OvernightError: The text is no prefect.yaml with a list of deployments.
    """
    _find_items(text)
    deployments = yaml.safe_load(text)["deployments"]
    if not all(isinstance(each, dict) and "." in str(each.get("entrypoint")) for each in deployments):
        raise OvernightError(f"prefect.yaml has a deployment without an entrypoint MODULE.FUNCTION. {_REMEDY}")
    return [str(each["entrypoint"]) for each in deployments]


def _find_items(text: str) -> yaml.SequenceNode:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise OvernightError(f"prefect.yaml is not YAML ({' '.join(str(error).split())}). {_REMEDY}") from error
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    found = next((value for key, value in pairs if key.value == "deployments"), None)
    if not isinstance(found, yaml.SequenceNode) or found.flow_style or not found.value:
        raise OvernightError(f"prefect.yaml has no list of deployments, one under the other. {_REMEDY}")
    return found


def _find_end(items: yaml.SequenceNode, lines: list[str]) -> int:
    """The line after the last deployment's last: comments and empty lines below it belong to what comes next."""
    at = int(items.end_mark.line) if items.end_mark.column == 0 else int(items.end_mark.line) + 1
    at = min(at, len(lines))
    while not lines[at - 1].strip() or lines[at - 1].lstrip().startswith("#"):
        at -= 1
    return at


def _find_timezone(text: str) -> str:
    """That of the first schedule that has one: nights begin together."""
    for deployment in yaml.safe_load(text)["deployments"]:
        for schedule in deployment.get("schedules") or ():
            if isinstance(schedule, dict) and schedule.get("timezone"):
                return str(schedule["timezone"])
    return "UTC"


def _write_deployment(entrypoint: str, flow: str, description: str, timezone: str) -> str:
    return textwrap.dedent(f"""\
        - name: nightly
          entrypoint: {entrypoint}
          description: {description}
          tags: [nightly, {flow}]
          concurrency_limit: {{limit: 1, collision_strategy: ENQUEUE}}
          schedules:
            # Asleep until the prompt is what you want: then say active: true.
            - {{active: false, slug: nightly, timezone: {timezone}, cron: "30 3 * * *"}}
          work_pool: {{name: overnight, work_queue_name: default}}
        """)
