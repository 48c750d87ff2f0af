"""The inbox: durable requests from outside, apart from the model work that answers them."""

from __future__ import annotations

from overnight.inbox.look import count, find, look
from overnight.inbox.submit import Submitted, keep, make_arrival, submit, submit_all

__all__ = ["Submitted", "count", "find", "keep", "look", "make_arrival", "submit", "submit_all"]
