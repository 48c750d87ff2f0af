"""A Dask cluster: its workers complete batches, through Prefect's task runner; all other tasks stay with the flow."""

from __future__ import annotations

import re
import signal
import threading
from typing import Any, Self

import distributed
from distributed.scheduler import KilledWorker
from prefect.task_runners import ThreadPoolTaskRunner
from prefect_dask.task_runners import DaskTaskRunner

from overnight.failures import OvernightError
from tasks.machines import N_BATCHES, ON_MACHINES
from tasks.orders import Orders, find_misfit

#: How long a scheduler may take to answer, and until it has a worker.
_ANSWERS_S, _HAS_WORKER_S = 10.0, 30.0
_FORMS = "Set it to tcp://HOST:PORT of a scheduler, or local:N for N workers on this machine."


def parse_cluster(named: str) -> dict[str, Any]:
    """
    What Prefect's runner is told of the cluster.

    Args:
        named: `tcp://HOST:PORT` (or `tls://`), or `local:N`.

    Raises:
        OvernightError: It is neither.
    """
    if re.fullmatch(r"(tcp|tls)://[^/\s]+:\d+", named):
        return {"address": named, "client_kwargs": {"timeout": _ANSWERS_S}}
    if found := re.fullmatch(r"local:([1-9]\d*)", named):
        # For trying out, beside whatever else the machine does: no dashboard, no bound of memory of its own.
        local = {"threads_per_worker": N_BATCHES, "dashboard_address": None, "memory_limit": 0, "preload": __name__}
        return {"cluster_kwargs": {"n_workers": int(found[1]), "processes": True, **local}}
    raise OvernightError(f"OVERNIGHT_DASK is {named!r}, which names no cluster. {_FORMS}")


def dask_setup(_: object) -> None:
    """A worker of `local:N` leaves Ctrl-C, which the terminal sends to it too, to the flow."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class ClusterRunner(DaskTaskRunner):
    """
    Completes batches on a cluster.

    Args:
        named: As OVERNIGHT_DASK names it.
    """

    def __init__(self, named: str) -> None:
        super().__init__(**parse_cluster(named))
        self.named = named
        #: Worker processes, as of the last look.
        self.n_processes = 1
        self._here: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=N_BATCHES)

    def duplicate(self) -> Self:
        return type(self)(self.named)

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call]
        self._exit_stack.enter_context(self._here)
        return self

    def submit(self, task: Any, *given: Any, **how: Any) -> Any:
        if task.name == ON_MACHINES:
            return super().submit(task, *given, **how)
        return self._here.submit(task, *given, **how)

    def connect(self) -> None:
        try:
            self.client.wait_for_workers(1, timeout=_HAS_WORKER_S)
        except TimeoutError as error:
            # Of the connection it is an OSError.
            raise OvernightError(
                f"The Dask scheduler at {self.named} has no worker. Start one in the project's folder:"
                f" `PYTHONPATH=. dask worker {self.named} --nthreads {N_BATCHES}`."
            ) from error
        except (OSError, RuntimeError, ValueError) as error:
            raise OvernightError(f"No Dask cluster answers at {self.named} ({_say(error)}). {_FORMS}") from error
        self._count()

    def refuse_misfits(self, orders: Orders) -> None:
        found = self.client.run(find_misfit, orders, on_error="return")
        self._count()
        for address, why in found.items():
            if isinstance(why, ModuleNotFoundError):
                raise OvernightError(
                    f"The Dask worker at {address} lacks the module {why.name}. Install the flow's version of overnight"
                    f" there, and start the worker in the project's folder, with PYTHONPATH=."
                )
            if isinstance(why, Exception):
                raise OvernightError(f"The Dask worker at {address} cannot work for this flow: {_say(why)}.") from why
            if why:
                raise OvernightError(f"The Dask worker at {address} cannot work for this flow. {why}")

    def translate(self, error: Exception) -> OvernightError | None:
        if isinstance(error, KilledWorker):
            return OvernightError(
                "A batch was given up: every worker that had it died. What was answered is kept: look into the workers'"
                " logs for why (memory, often), and run the flow again."
            )
        if isinstance(error, distributed.CancelledError | OSError):
            return OvernightError(
                f"The Dask cluster at {self.named} was lost ({_say(error)}). What was answered is kept: start it again,"
                " and run the flow again."
            )
        return None

    def _count(self) -> None:
        self.n_processes = max(len(self.client.nthreads()), 1)  # type: ignore[no-untyped-call]


def _say(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
