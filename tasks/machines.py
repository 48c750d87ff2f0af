"""Where batches are completed: in the flow's own process, or by the workers of a Dask cluster (`OVERNIGHT_DASK`)."""

from __future__ import annotations

import sys
from typing import Any, Protocol, Self, runtime_checkable

from prefect.context import FlowRunContext
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from overnight.failures import OvernightError
from overnight.settings import Settings
from tasks.orders import Orders

#: Batches that a process works on at once; the calls of all of them share one limit.
N_BATCHES = 4
#: The task whose runs go to the machines: it asks models. All others read and write what is beside the flow.
ON_MACHINES = "complete-batch"
_MISSING = "OVERNIGHT_DASK is set, and prefect-dask is not installed. Install overnight[dask] here and on all workers."


@runtime_checkable
class Machines(Protocol):
    """A cluster, as the steps of a flow see it."""

    n_processes: int

    def connect(self) -> None:
        """
        Reach it, within seconds.

        Raises:
            OvernightError: It does not answer, or has no worker.
        """

    def refuse_misfits(self, orders: Orders) -> None:
        """
        Make sure that every worker can carry the orders out.

        Raises:
            OvernightError: One cannot.
        """

    def translate(self, error: Exception) -> OvernightError | None:
        """What became of a batch that no worker handed back, in our words; None: it is no fault of the cluster's."""


class BatchRunner(ThreadPoolTaskRunner):  # type: ignore[type-arg]
    """Stands in a flow for the runner that the settings choose when its run begins."""

    def __init__(self) -> None:
        super().__init__(max_workers=N_BATCHES)

    def duplicate(self) -> Self:
        """The runner of one flow run."""
        return choose_runner() or type(self)()  # type: ignore[return-value]


def choose_runner() -> TaskRunner[Any] | None:
    """The cluster that the settings name; None: the flow's own process. What is wrong is said once the run is open."""
    if is_worker():
        return None
    try:
        dask = Settings.from_env().dask
        if dask is None:
            return None
        from tasks.cluster import ClusterRunner  # noqa: PLC0415 - an extra, and slow to import

        return ClusterRunner(dask)
    except (OvernightError, ModuleNotFoundError):
        return None


def is_worker() -> bool:
    """Whether this code runs on a worker of a cluster."""
    if "distributed.worker" not in sys.modules:
        return False
    from distributed import get_worker  # noqa: PLC0415 - it is there already

    try:
        get_worker()
    except ValueError:
        return False
    return True


def find_machines() -> Machines | None:
    """The cluster that the flow's batches go to."""
    context = FlowRunContext.get()
    return context.task_runner if context and isinstance(context.task_runner, Machines) else None


def connect_machines(settings: Settings) -> None:
    """
    Where a cluster is asked for, reach it before anything is read or paid.

    Raises:
        OvernightError: It is not there, is not named as one is, or the package for it is not installed.
    """
    if settings.dask is None:
        return
    if machines := find_machines():
        machines.connect()
        return
    try:
        from tasks.cluster import parse_cluster  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise OvernightError(_MISSING) from None
    parse_cluster(settings.dask)
