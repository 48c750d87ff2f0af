"""The ledger: the append-only record of attempts, completions, decisions and deliveries."""

from overnight.ledger.store import Ledger, open_ledger

__all__ = ["Ledger", "open_ledger"]
