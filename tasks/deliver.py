"""Delivering: the rows that the approval lets out, to the sink that it names."""

from __future__ import annotations

from typing import Any

from prefect.logging import get_run_logger

from overnight import deliver
from overnight.failures import RunHalted
from overnight.ledger import open_ledger
from overnight.records import Approval, Receipt
from overnight.settings import Settings
from tasks.limit import not_counted
from tasks.nightly import batch_task

#: What to say of rows in a state; values are put in as they are, whatever braces they hold.
_UNDELIVERED = {
    "failed": (
        "Sink {approval.sink!r} refused {n}, the first ({first.row_id}): {first.detail} Once it takes them:"
        " `overnight outbox {approval.release_id} --resend ROW`."
    ),
    "unknown": (
        "The fate of {n} is unknown, the first ({first.row_id}): {first.detail} None is sent again by itself:"
        " `overnight outbox {approval.release_id}` takes what you find out, and `overnight review {approval.run_id}`"
        " goes on."
    ),
}


def deliver_release(approval: Approval) -> list[Receipt]:
    """
    Deliver what the approval lets out, and nothing else; the only way out.

    Raises:
        ApprovalRefused: The ledger's record of the approval does not cover it.
        RunHalted: The sink refused rows, does not answer, or it is unknown whether it took some.
    """
    # Submitted: a task that is called directly gives its failed state, not the fault.
    with not_counted():
        sent: Any = send_release.submit(approval).result()
    receipts: list[Receipt] = sent
    lines = [
        line.format(n=f"{len(found)} of {len(receipts)} rows", first=found[0], approval=approval)
        for state, line in _UNDELIVERED.items()
        if (found := [r for r in receipts if r.state == state])
    ]
    if lines:
        raise RunHalted(" ".join(lines))
    return receipts


@batch_task(name="deliver-release", task_run_name="deliver-{approval.release_id}")
def send_release(approval: Approval) -> list[Receipt]:
    """Use the approval up and keep its promises."""
    settings = Settings.from_env()
    receipts = deliver.deliver_release(approval, ledger=open_ledger(settings.ledger_url), settings=settings)
    get_run_logger().info("%d rows delivered to %s", sum(r.state == "delivered" for r in receipts), approval.sink)
    return receipts
