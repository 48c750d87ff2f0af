"""Purging: texts and bytes that are older than a day are dropped, their hashes stay, and it is said what that costs."""

from overnight.purge.purge import Purged, purge
from overnight.purge.words import describe_purge

__all__ = ["Purged", "describe_purge", "purge"]
