"""What makes a function a nightly flow: its run is opened around it, and every ending is a named state."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

from prefect import Flow, Task, flow, task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run, task_run
from prefect.states import Completed, Failed

from overnight.deliver import describe_sink
from overnight.failures import OvernightError
from overnight.ledger import open_ledger
from overnight.notices import refuse_malformed
from overnight.records import RunState, Summary
from overnight.settings import Settings
from tasks.inbox import find_nothing
from tasks.late import find_scheduled_at, skip_stale
from tasks.limit import halting_at_limit
from tasks.machines import BatchRunner, connect_machines
from tasks.notify import notify_end, notify_unopened
from tasks.opening import find_run_id, open_run
from tasks.report import publish_artifacts
from tasks.run import refuse_lost_rows
from tasks.stop import halting_on_sigterm

P = ParamSpec("P")

_STARTED_BY = "started-by:"


class RunEnded(OvernightError):
    """The run ends here, before its last step: it waits, is held, or was rejected."""

    def __init__(self, state: RunState, message: str, *, failed: bool = False) -> None:
        super().__init__(message)
        self.state = state
        #: Whether somebody must look at it in the morning.
        self.failed = failed


def nightly_flow(*, name: str, **options: Any) -> Callable[[Callable[P, Summary]], Flow[P, Any]]:
    """
    Make a function a Prefect flow whose run is recorded, resumable, and ends in a named state.

    Args:
        name: The flow's name in Prefect.
        options: Passed on to `prefect.flow`.
    """

    def decorate(steps: Callable[P, Summary]) -> Flow[P, Any]:
        _refuse_other_name(name, steps.__name__)

        @functools.wraps(steps)
        def run_night(*args: P.args, **kwargs: P.kwargs) -> Summary | State[Any]:
            bound = inspect.signature(steps).bind(*args, **kwargs)
            given = dict(bound.arguments)
            bound.apply_defaults()
            asked = bound.arguments.get("source"), bound.arguments.get("sink")
            return _run_steps(name, given, *asked, functools.partial(steps, *args, **kwargs))

        # `overnight run` and `overnight plan` take these alone.
        run_night.__dict__["is_nightly"] = True
        runner: Any = BatchRunner()
        made: Flow[P, Any] = flow(
            name=name,
            flow_run_name=lambda: name_flow_run(name),
            persist_result=True,
            result_serializer="json",
            task_runner=runner,
            retries=0,
            **options,
        )(run_night)
        return made

    return decorate


def _refuse_other_name(name: str, function: str) -> None:
    """A run is continued by its flow's name: it has to lead back to the function."""
    if name.replace("-", "_") != function:
        wanted = function.replace("_", "-")
        raise OvernightError(
            f"The flow {name!r} is made of the function {function}. Name it {wanted!r}, or the function so."
        )


def _run_steps(
    name: str, given: dict[str, Any], source: str | None, sink: str | None, steps: Callable[[], Summary]
) -> Summary | State[Any]:
    try:
        if nothing := find_nothing(source, _flow_run_id()):
            return Completed(name="Empty", message=nothing)
        is_deployed = bool(deployment.id)
        started_by = find_starter(is_deployed=is_deployed)
        if skipped := skip_stale(name):
            return Completed(name="Skipped", message=skipped)
        facts: Any = {"deployed": is_deployed, "started_by": started_by, "scheduled_at": find_scheduled_at()}
        with open_run(name, given, flow_run_id=_flow_run_id(), **facts) as run:
            try:
                refuse_malformed(run.settings.notify)
                connect_machines(run.settings)
                if warning := run.engine.telemetry_warning:
                    get_run_logger().warning(warning)
                if sink is not None:
                    # Refused now, not after everything was paid for.
                    refuse_lost_rows(run, describe_sink(sink, run.settings))
                with halting_on_sigterm(run), halting_at_limit(run):
                    return steps()
            except RunEnded as end:
                run.set_state(end.state, str(end))
                if end.failed:
                    notify_end(run, end.state, end)
                publish_artifacts(run)
                ended = Failed if end.failed else Completed
                return ended(name=end.state.capitalize(), message=str(end))
            except OvernightError as error:
                run.set_state(RunState.HALTED, str(error))
                notify_end(run, RunState.HALTED, error)
                publish_artifacts(run)
                return Failed(name="Halted", message=str(error))
            except Exception as error:
                # Nobody foresaw it: Prefect shows where it was, and the run must not stand as running.
                run.set_state(RunState.HALTED, f"{type(error).__name__}: {error}")
                notify_end(run, RunState.HALTED, error)
                raise
    except OvernightError as error:
        notify_unopened(name, error, deployed=bool(deployment.id))
        return Failed(name="Halted", message=str(error))


def name_flow_run(name: str) -> str:
    """The flow's name with the run's id: a run keeps its id over every flow run that continues it."""
    try:
        settings = Settings.from_env()
        return f"{name} {find_run_id(_flow_run_id(), settings, open_ledger(settings.ledger_url))}"
    except OvernightError:
        return name  # the flow itself meets the same fault, and says it


def find_starter(*, is_deployed: bool) -> str | None:
    """Who started the flow run, where that is known: a tag `started-by:NAME`, or the login of a run by hand."""
    tagged = [tag.removeprefix(_STARTED_BY) for tag in flow_run.tags or [] if tag.startswith(_STARTED_BY)]
    return tagged[0] if tagged else None if is_deployed else Settings.from_env().started_by


def _flow_run_id() -> str:
    return str(flow_run.id)


def name_task_run() -> str:
    """The task's name with its batch: 3, 2.3 in the second step of a flow; and the pass, from the second on."""
    given: Any = task_run.parameters
    work = given.get("batch") or given["completed"]
    step = "" if work.step == 1 else f"{work.step}."
    again = "" if given.get("pass_n", 1) == 1 else f"-pass-{given['pass_n']}"
    return f"{task_run.task_name}-{step}{work.n}{again}"


def batch_task(
    *, name: str, cache_policy: CachePolicy = NO_CACHE, **options: Any
) -> Callable[[Callable[P, Any]], Task[P, Any]]:
    """A Prefect task that retries nothing by itself and whose foreseeable faults are a failed state of one line."""

    def decorate(work: Callable[P, Any]) -> Task[P, Any]:
        @functools.wraps(work)
        def run_task(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                return work(*args, **kwargs)
            except OvernightError as error:
                return Failed(message=str(error), data=error)

        return task(
            name=name,
            cache_policy=cache_policy,
            persist_result=cache_policy is not NO_CACHE,
            result_serializer="json",
            retries=0,
            **options,
        )(run_task)

    return decorate
