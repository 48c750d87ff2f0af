"""Every five minutes providers are asked how far their batches are, and runs that waited for them go on."""

from prefect import flow

from tasks import follow_provider_batches, wake_runs


@flow(name="follow-batches")
def follow_batches() -> int:
    """Look after what providers have; nothing is asked of a model here that was not asked before."""
    follow_provider_batches()
    return wake_runs()
