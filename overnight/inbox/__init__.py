"""The inbox: durable requests from outside, apart from the model work that answers them."""

from __future__ import annotations

from overnight.inbox.submit import Submitted, find, submit, submit_all

__all__ = ["Submitted", "find", "submit", "submit_all"]
