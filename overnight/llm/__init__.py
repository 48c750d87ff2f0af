"""Language models behind one protocol: encode, send, parse; every fault named for what the caller must do."""

from overnight.llm.answer import AnswerValidator, make_validator, parse_answer
from overnight.llm.budget import Budget
from overnight.llm.client import Client, make_client
from overnight.llm.limiter import Limiter
from overnight.llm.model import ModelRef, check_ready, endpoint_of, parse_model
from overnight.llm.prices import cost_usd, worst_usd
from overnight.llm.retry import retrying
from overnight.llm.wire import DEFAULT_MAX_TOKENS

__all__ = [
    "DEFAULT_MAX_TOKENS",
    "AnswerValidator",
    "Budget",
    "Client",
    "Limiter",
    "ModelRef",
    "check_ready",
    "cost_usd",
    "endpoint_of",
    "make_client",
    "make_validator",
    "parse_answer",
    "parse_model",
    "retrying",
    "worst_usd",
]
