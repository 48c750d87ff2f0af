"""Tickets that came in from outside are triaged; whoever sent one reads the answer once a person has let it out."""

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
)


@nightly_flow(name="answer-inbox")
def answer_inbox(
    source: str = "inbox:triage_ticket", model: str | None = None, sink: str = "inbox:triage_ticket"
) -> Summary:
    """Triage what waits in the inbox and, once a person has read it, answer it there; where nothing waits, end."""
    prompt = load_prompt("triage_ticket")
    batches = load_batches(source, prompt)
    completed = complete_batches(batches, prompt, model)
    checked = check_batches(completed, prompt)
    approval = ask_approval(checked, sink)
    receipts = deliver_release(approval)
    return publish_report(checked, receipts)
