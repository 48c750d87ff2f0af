"""Reviewers are told, every hour, of runs that soon stop waiting for them, and of those that have stopped."""

from prefect import flow

from tasks import tell_reviewers


@flow(name="remind-reviewers")
def remind_reviewers() -> int:
    """Remind those who review; nothing is asked of a model here, and nothing leaves but the notices."""
    return tell_reviewers()
