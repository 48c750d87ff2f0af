"""Support tickets are triaged, and the urgent ones get a drafted reply that fits the triage."""

from overnight.records import Summary
from tasks import (
    ask_approval,
    chain_batches,
    check_batches,
    complete_batches,
    deliver_release,
    load_batches,
    load_prompt,
    nightly_flow,
    publish_report,
    shadow_batches,
)


@nightly_flow(name="answer-urgent-tickets")
def answer_urgent_tickets(
    source: str = "data/samples/tickets.csv",
    model: str | None = None,
    sink: str = "file:data/out/replies.jsonl",
    shadow: str | None = None,
) -> Summary:
    """Triage the tickets of a source, draft replies to the urgent ones, and write those to a sink after a review."""
    triage, reply = load_prompt("triage_ticket"), load_prompt("draft_reply")
    tickets = load_batches(source, triage)
    shadow_batches(tickets, triage, shadow)
    triaged = check_batches(complete_batches(tickets, triage, model), triage)
    urgent = chain_batches(triaged, reply, where={"urgency": ["high"]})
    drafted = check_batches(complete_batches(urgent, reply, model), reply)
    approval = ask_approval(drafted, sink)
    receipts = deliver_release(approval)
    return publish_report(drafted, receipts)
