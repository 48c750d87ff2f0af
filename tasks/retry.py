"""Starting a retry: the run's own flow, by its deployment, over the rows that the run has quarantined."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from overnight import only_hosts
from overnight.failures import OvernightError
from overnight.intake.quarantine import QuarantineSource
from overnight.ledger import open_ledger
from overnight.ledger.queries import get_run
from overnight.report.quarantine import find_quarantine
from overnight.settings import Settings

#: Of several deployments of a flow, the one whose name this is.
_NIGHTLY = "nightly"


def start_retry(run: str, reason: str | None = None, model: str | None = None, sink: str | None = None) -> State[Any]:
    """
    Have a run's quarantined rows asked again, in a flow run of its own: only such a one can be suspended at its gate.

    Args:
        run: Whose rows.
        reason: Only those of this failure class or rule.
        model: PROVIDER:NAME; by default as the run itself.
        sink: Where released rows go; by default as the run itself.
    """
    try:
        line = _start(run, QuarantineSource(run, reason), {"model": model, "sink": sink})
    except OvernightError as error:
        return Failed(message=str(error))
    get_run_logger().info(line)
    return Completed(message=line)


def _start(run_id: str, source: QuarantineSource, given: dict[str, str | None]) -> str:
    settings = Settings.from_env()
    only_hosts.install(settings.only_hosts)
    ledger = open_ledger(settings.ledger_url)
    found = find_quarantine(run_id, ledger=ledger, place=settings.parts, reason=source.reason)
    if not found.n_to_retry:
        raise OvernightError(f"Run {run_id} has no quarantined row to ask again. `overnight quarantine {run_id}`.")
    with ledger.reading() as connection:
        run = get_run(connection, run_id)
    parameters = run["parameters"] | {"source": str(source)}
    parameters |= {name: value for name, value in given.items() if value}
    deployment = _find_deployment(run["flow"])
    # Not as a subflow: it ends when its rows wait for a person, and this flow run is over by then. Twice the same flow
    # run of this flow, twice the same one of the other.
    started: Any = run_deployment(
        deployment,
        parameters=parameters,
        timeout=0,
        as_subflow=False,
        tags=["retry"],
        idempotency_key=f"retry-{flow_run.id}",
    )
    name = f"{datetime.now(UTC):%Y%m%d}-{started.id.hex[:8]}"
    return f"{found.n_to_retry:,} rows of run {run_id} are asked again by {deployment}: run {name}."


def _find_deployment(flow: str) -> str:
    with get_client(sync_client=True) as client:
        found = client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])))
    names = sorted(deployment.name for deployment in found)
    if not names:
        raise OvernightError(
            f"The flow {flow} has no deployment here. Start `overnight up`, or retry by hand: `overnight quarantine RUN"
            " --retry`."
        )
    return f"{flow}/{_NIGHTLY if _NIGHTLY in names else names[0]}"
