"""Every five minutes killed runs are put back, and people are told of runs that are late, missing or lost."""

from prefect import flow

from tasks import put_back_broken, tell_late_runs


@flow(name="watch-nights")
def watch_nights() -> int:
    """Look after the night runs; nothing is asked of a model here, and nothing leaves but the notices."""
    n_put_back = put_back_broken()
    tell_late_runs()
    return n_put_back
