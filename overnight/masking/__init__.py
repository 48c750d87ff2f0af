"""What is not shown: secrets, which are not recorded either, and values that a prompt declares private."""

from overnight.masking.secrets import MASK, Mask, mask_secrets
from overnight.masking.veil import MARKS, NOTHING_HIDDEN, Veil, map_texts, read_private

__all__ = ["MARKS", "MASK", "NOTHING_HIDDEN", "Mask", "Veil", "map_texts", "mask_secrets", "read_private"]
