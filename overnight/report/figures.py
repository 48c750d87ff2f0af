"""What a step of a run came to, in figures: rows, calls, tokens, money, failures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """What a step of a run came to; a share is None where nothing was there to have it."""

    run_id: str
    step: int
    prompt_name: str
    prompt_hash: str
    #: PROVIDER:NAME that was to be asked.
    model: str | None
    #: n_rows = n_accepted + n_quarantined + n_pending.
    n_rows: int
    n_accepted: int
    n_quarantined: int
    n_pending: int
    #: Rows that were answered without a call of this run.
    n_hits: int
    hit_rate: float | None
    #: Different requests that were sent, the attempts at them, and those of them that came back.
    n_requests: int
    n_attempts: int
    n_calls: int
    input_tokens: int
    output_tokens: int
    input_tokens_per_request: float | None
    output_tokens_per_request: float | None
    #: Over all attempts, failed ones too; None where a price is not known.
    cost_usd: float | None
    cost_per_accepted_usd: float | None
    #: Rows that were set aside, by "CLASS" or "CLASS: RULE"; accepted rows that a rule warned of, by rule.
    set_aside: dict[str, int]
    warned: dict[str, int]
    #: Attempts by the class that they failed with.
    failure_classes: dict[str, int]
    #: Of the requests, those that a model or its provider declined at least once.
    n_refused: int
    refusal_rate: float | None
    #: Of the accepted rows that were searched, those with a hedge in a text.
    n_hedges: int
    n_searched: int
    hedge_rate: float | None
    #: Of the requests, those that were asked again otherwise than before.
    n_reasked: int
    reask_rate: float | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p99_s: float | None
    #: Calls by the model that the provider said had answered.
    calls_by_model: dict[str, int]
    #: Calls that ended with status 429, and with 500 or more.
    n_rate_limited: int
    n_server_errors: int
