"""The completing desk: rows in, answers out, each paid for once; the only place that retries a model."""

from overnight.complete.batch import complete_batch
from overnight.complete.context import MAX_PAUSE_S, Progress, RunContext
from overnight.complete.engine import Engine, get_engine
from overnight.complete.estimate import Estimate, Range, describe_halt, estimate
from overnight.complete.left import LOST, count_left, leave_taken, spare_lost
from overnight.complete.passes import complete_in_passes, take_back
from overnight.complete.provider.deadline import find_fallback_at
from overnight.complete.provider.following import Followed, cancel_batches, follow_batches
from overnight.complete.provider.turns import Turn, begin_turn, end_turn, has_open_batches
from overnight.complete.resolve import refuse_unpriced, resolve_prompt
from overnight.complete.sources import read_source

__all__ = [
    "LOST",
    "MAX_PAUSE_S",
    "Engine",
    "Estimate",
    "Followed",
    "Progress",
    "Range",
    "RunContext",
    "Turn",
    "begin_turn",
    "cancel_batches",
    "complete_batch",
    "complete_in_passes",
    "count_left",
    "describe_halt",
    "end_turn",
    "estimate",
    "find_fallback_at",
    "follow_batches",
    "get_engine",
    "has_open_batches",
    "leave_taken",
    "read_source",
    "refuse_unpriced",
    "resolve_prompt",
    "spare_lost",
    "take_back",
]
