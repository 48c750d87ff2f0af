"""What this version brings beside tasks/ and an older project lacks: flows that every project has, and deployments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from overnight.cli.carried import find_carried, list_common_flows, read_deployments
from overnight.cli.deployments import list_entrypoints
from overnight.failures import OvernightError


class _Written(yaml.SafeDumper):
    """As a person would write it: what two entries share stands in both."""

    def ignore_aliases(self, _: object) -> bool:
        """Always."""
        return True


@dataclass(frozen=True)
class Lacking:
    """Names of modules in flows/."""

    flows: tuple[str, ...]
    deployments: tuple[str, ...]
    #: Why prefect.yaml could not be looked at, where that is so.
    fault: str | None = None

    def describe(self) -> list[str]:
        """What is lacking and how to add it, a line each."""
        lines = [f"prefect.yaml was not looked at: {self.fault}"] if self.fault else []
        if self.flows:
            named = ", ".join(f"flows/{name}.py" for name in self.flows)
            files = " ".join(str(find_carried() / "flows" / f"{name}.py") for name in self.flows)
            lines += [f"This project lacks flows that this version has: {named}. Copy them:", f"  cp {files} flows/"]
        if self.deployments:
            named = ", ".join(self.deployments)
            lines.append(
                f"prefect.yaml has no deployment of {named}. Add these entries under `deployments:`, then deploy"
            )
            lines.append("(`overnight up`, or prefect --no-prompt deploy --all):")
            lines += _cut_entries(self.deployments)
        return lines


def find_lacking(project: Path) -> Lacking:
    """What the project lacks; that somebody took a flow out on purpose is not known."""
    common = [path.stem for path in list_common_flows()]
    flows = tuple(name for name in common if not (project / "flows" / f"{name}.py").exists())
    ours = {_name_module(entrypoint) for entrypoint in list_entrypoints(read_deployments())}
    try:
        theirs = {_name_module(e) for e in list_entrypoints((project / "prefect.yaml").read_text(encoding="utf-8"))}
    except (OSError, UnicodeDecodeError, OvernightError) as error:
        return Lacking(flows, (), str(error))
    return Lacking(flows, tuple(name for name in common if name in ours - theirs))


def _name_module(entrypoint: str) -> str:
    """Of flows.watch_nights.watch_nights, or of flows/watch_nights.py:watch_nights, the middle."""
    module = entrypoint.partition(":")[0].removesuffix(".py").replace("/", ".")
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def _cut_entries(names: tuple[str, ...]) -> list[str]:
    """The entries as this version has them, each complete in itself: anchors may be elsewhere in the file."""
    entries = yaml.safe_load(read_deployments())["deployments"]
    wanted = [entry for entry in entries if _name_module(entry["entrypoint"]) in names]
    dumped = yaml.dump(wanted, Dumper=_Written, sort_keys=False, width=1000)
    return [f"  {line}" for line in dumped.splitlines()]
