"""In the morning each run of the night gets its page, and people are told once what came of all of them."""

from prefect import flow

from tasks import brief_runs


@flow(name="send-brief")
def send_brief() -> int:
    """Write and send the morning brief; nothing is asked of a model here, and nothing leaves but the notice."""
    return brief_runs()
