"""What a person can do about a quarantined row, by what it was set aside for."""

from __future__ import annotations

from overnight.taxonomy import OFFERED_ELSEWHERE, TREATMENTS, FailureClass

_SOURCE = "Mend the row in the source and run the flow on it: a retry has nothing to ask."
_PROMPT = "Mend the prompt, or the check where it asks too much, and retry."
_WHAT_TO_DO: dict[FailureClass, str] = {
    FailureClass.BAD_REQUEST: "Read what the provider says of the request; mend parameters or schema, and retry.",
    FailureClass.TOO_LARGE: "Shorten the row in the source, or retry with a model of a longer context (--model).",
    FailureClass.TRUNCATED: "Raise max_tokens or repair.max_tokens in prompt.md, and retry.",
    FailureClass.REFUSAL: "Say in the prompt what the task is for, or declare repair.fallback, and retry.",
    FailureClass.CONTENT_FILTER: "Read the row: it may be nothing to send. Else retry with another model (--model).",
    FailureClass.UNKNOWN_STOP: "See what the provider has changed, upgrade overnight, and retry.",
    FailureClass.EMPTY: "Retry; where it stays, mend the prompt or try another model (--model).",
    FailureClass.MALFORMED: "Retry; where it stays, simplify the schema, declare repair.stronger or try --model.",
    FailureClass.SCHEMA_INVALID: "Mend the schema where the answer is right, or the prompt where it is not, and retry.",
    FailureClass.CHECK_FAILED: _PROMPT,
    FailureClass.HEDGE: "Give the prompt a value for what cannot be told (check hedge, unknown), and retry.",
    FailureClass.ECHO: _PROMPT,
    FailureClass.SAME_ANSWER: _PROMPT,
    FailureClass.UNRENDERABLE: "Mend the template for a row like this, and retry.",
    FailureClass.BATCH_RULE: (
        "The answer stands and is a hit: unchanged it would be refused again. Mend the prompt or the check, or try"
        " another model (--model), and retry."
    ),
    FailureClass.UNDECODABLE: _SOURCE,
    FailureClass.RAGGED_ROW: _SOURCE,
    FailureClass.EMPTY_ID: _SOURCE,
    FailureClass.DUPLICATE_ID: _SOURCE,
    FailureClass.MISSING_VALUE: _SOURCE,
}


def describe_treatment(failure_class: str, rule: str = "") -> str:
    """What it was recognised by, and what to do."""
    if rule == OFFERED_ELSEWHERE:
        return "Nothing here: that run's reviewer decides. Where it is rejected there, retry."
    try:
        known = FailureClass(failure_class)
    except ValueError:
        return "This version does not know the class: upgrade overnight."
    return f"{_WHAT_TO_DO.get(known, 'Retry.')} ({TREATMENTS[known].signal})"
