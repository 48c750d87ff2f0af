"""How a delivery ends that did not succeed; each message is one line for people."""

from __future__ import annotations

from overnight.failures import OvernightError


class DeliveryFailed(OvernightError):
    """The receiver refused for good: the same bytes would be refused again."""


class DeliveryDeferred(OvernightError):
    """It was not taken, or may be handed over again without harm: it stays promised."""


class DeliveryUnknown(OvernightError):
    """It may have been taken, and the answer was lost: a person has to look."""
