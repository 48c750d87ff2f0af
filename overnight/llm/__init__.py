"""Language models behind one protocol: encode, send, parse; every fault named for what the caller must do."""

from overnight.llm.answer import AnswerValidator, make_validator, parse_answer
from overnight.llm.breaker import Breaker
from overnight.llm.client import Client, make_client
from overnight.llm.limiter import Limiter
from overnight.llm.model import ModelRef, check_ready, endpoint_of, name_variable, parse_model
from overnight.llm.opening import Outage, Pass
from overnight.llm.prices import cost_usd, find_terms, has_batch_price, worst_usd
from overnight.llm.rate_headers import find_hold_s
from overnight.llm.rates import Rates
from overnight.llm.retry import MAX_WAIT_S, keep_asking, repeating_passes
from overnight.llm.statuses import find_retry_after_s, leave_out_advice
from overnight.llm.wire import DEFAULT_MAX_TOKENS

__all__ = [
    "DEFAULT_MAX_TOKENS",
    "MAX_WAIT_S",
    "AnswerValidator",
    "Breaker",
    "Client",
    "Limiter",
    "ModelRef",
    "Outage",
    "Pass",
    "Rates",
    "check_ready",
    "cost_usd",
    "endpoint_of",
    "find_hold_s",
    "find_retry_after_s",
    "find_terms",
    "has_batch_price",
    "keep_asking",
    "leave_out_advice",
    "make_client",
    "make_validator",
    "name_variable",
    "parse_answer",
    "parse_model",
    "repeating_passes",
    "worst_usd",
]
