"""The completing desk: rows in, answers out, each paid for once; the only place that retries a model."""

from overnight.complete.batch import complete_batch
from overnight.complete.engine import Engine, Progress, get_engine
from overnight.complete.resolve import resolve_prompt

__all__ = ["Engine", "Progress", "complete_batch", "get_engine", "resolve_prompt"]
