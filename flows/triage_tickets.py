"""Support tickets get a category, an urgency, a summary and a drafted reply."""

from overnight.records import Summary
from tasks import (
    ask_approval,
    check_batches,
    complete_batches,
    deliver_release,
    load_batches,
    load_prompt,
    nightly_flow,
    publish_report,
    shadow_batches,
)


@nightly_flow(name="triage-tickets")
def triage_tickets(
    source: str = "data/samples/tickets.csv",
    model: str | None = None,
    sink: str = "file:data/out/tickets.jsonl",
    shadow: str | None = None,
) -> Summary:
    """Triage the tickets of a source and, once a person has read them, write them to a sink."""
    prompt = load_prompt("triage_ticket")
    batches = load_batches(source, prompt)
    shadow_batches(batches, prompt, shadow)
    completed = complete_batches(batches, prompt, model)
    checked = check_batches(completed, prompt)
    approval = ask_approval(checked, sink)
    receipts = deliver_release(approval)
    return publish_report(checked, receipts)
