"""How a delivery ends that did not succeed."""

from __future__ import annotations

from overnight.failures import OvernightError


class DeliveryFailed(OvernightError):
    """The receiver refused for good: the same bytes would be refused again."""


class DeliveryUnsure(OvernightError):
    """No answer that settles it; the same key may be sent again later, since the receiver dedupes on it."""
