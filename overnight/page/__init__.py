"""The review page: one reader, one item at a time, on this machine alone."""

from overnight.page.app import make_app
from overnight.page.desk import Desk
from overnight.page.review import Review

__all__ = ["Desk", "Review", "make_app"]
