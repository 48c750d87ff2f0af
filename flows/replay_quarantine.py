"""The quarantined rows of a run are asked again: started from the Prefect UI for a run's id."""

from prefect import flow

from tasks import start_retry


@flow(name="replay-quarantine")
def replay_quarantine(run: str, reason: str | None = None, model: str | None = None, sink: str | None = None) -> object:
    """Start the run's own flow over the rows that it has quarantined; it ends saying which run to look at."""
    return start_retry(run, reason, model, sink)
