"""Bank customers' questions get the intent they are routed by, with the words that show it."""

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


@nightly_flow(name="route-banking-query")
def route_banking_query(
    source: str = "data/samples/queries.csv",
    model: str | None = None,
    sink: str = "file:data/out/queries.parquet",
    shadow: str | None = None,
) -> Summary:
    """Route the queries of a source and, once a person has read a sample, write them to a sink."""
    prompt = load_prompt("route_banking_query")
    batches = load_batches(source, prompt)
    shadow_batches(batches, prompt, shadow)
    completed = complete_batches(batches, prompt, model)
    checked = check_batches(completed, prompt)
    approval = ask_approval(checked, sink)
    receipts = deliver_release(approval)
    return publish_report(checked, receipts)
