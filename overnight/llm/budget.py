"""Money is reserved before a call and settled after it, so that calls in flight cannot overrun the cap together."""

from __future__ import annotations

from overnight.failures import CallFailed, FailureClass

#: Sums of floats that should be equal to the cap may differ by this much.
_TOLERANCE_USD = 1e-9


class Budget:
    """The money of one run, on one event loop; no cap: nothing is refused."""

    def __init__(self, cap_usd: float | None, spent_usd: float) -> None:
        self.cap_usd = cap_usd
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0

    def reserve(self, worst_usd: float | None) -> None:
        """
        Set the worst price of a call aside.

        Raises:
            CallFailed: It does not fit under the cap, or there is a cap and the price is unknown.
        """
        if self.cap_usd is None:
            self.reserved_usd += worst_usd or 0.0
            return
        if worst_usd is None:
            raise CallFailed(
                FailureClass.BUDGET,
                f"The budget is ${self.cap_usd:.6f}, but no price is known for this model. Run without --budget.",
            )
        if self.spent_usd + self.reserved_usd + worst_usd > self.cap_usd + _TOLERANCE_USD:
            raise CallFailed(
                FailureClass.BUDGET,
                f"The next call may cost ${worst_usd:.6f}; of the budget of ${self.cap_usd:.6f}, "
                f"${self.spent_usd:.6f} is spent and ${self.reserved_usd:.6f} reserved. "
                "Raise --budget and run again: what was answered is kept.",
            )
        self.reserved_usd += worst_usd

    def settle(self, reserved_usd: float | None, actual_usd: float | None) -> None:
        """Free a reservation and book what the call cost; where that is unknown, all that was reserved."""
        reserved = reserved_usd or 0.0
        self.reserved_usd = max(0.0, self.reserved_usd - reserved)
        self.spent_usd += reserved if actual_usd is None else actual_usd
