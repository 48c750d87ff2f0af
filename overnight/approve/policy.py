"""How much of a release has to be read: what a flow asks for, and the defaults of its sink's effect."""

from __future__ import annotations

import math
from dataclasses import fields, replace

from overnight.failures import OvernightError
from overnight.records import ReviewPolicy

#: A sink that cannot be undone is read more closely, by two people.
_DEFAULTS = {
    "reversible": ReviewPolicy(confidence=0.95, max_bad_share=0.10, n_seeds=3, n_reviewers=1),
    "irreversible": ReviewPolicy(confidence=0.95, max_bad_share=0.05, n_seeds=3, n_reviewers=2),
}
_BELOW_1 = math.nextafter(1.0, 0.0)
#: The least and the most that each may be, in numbers and in words; ten years are the longest time.
_RANGES = {
    "confidence": (0.5, _BELOW_1, "from 0.5 to less than 1"),
    "max_bad_share": (0.0, _BELOW_1, "from 0 to less than 1"),
    "n_seeds": (1, 20, "from 1 to 20"),
    "n_reviewers": (1, 10, "from 1 to 10"),
    "waits_d": (1e-5, 3_650, "more than 0 and up to 3,650 days"),
    "expires_h": (0.0, 87_600, "from 0 to 87,600 hours"),
}
#: Where a value comes from that the flow leaves open.
_SETTINGS = {"waits_d": "OVERNIGHT_WAITS_S", "expires_h": "OVERNIGHT_APPROVAL_S"}


def complete_policy(policy: ReviewPolicy | None, effect: str, *, waits_s: float, approval_s: float) -> ReviewPolicy:
    """
    The policy with every value: what the flow leaves open is decided by the sink's effect and the settings.

    Raises:
        OvernightError: A value is none that a review can have.
    """
    default = replace(_DEFAULTS[effect], waits_d=waits_s / 86_400, expires_h=approval_s / 3600)
    given = {f.name: getattr(policy, f.name) for f in fields(ReviewPolicy)} if policy else {}
    complete = replace(default, **{name: value for name, value in given.items() if value is not None})
    for name, (least, most, words) in _RANGES.items():
        value = getattr(complete, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            where = "the flow" if given.get(name) is not None else _SETTINGS.get(name)
            raise OvernightError(f"ReviewPolicy({name}={value!r}) is none: {name} is {words}. Correct it in {where}.")
        if name.startswith("n_") and not isinstance(value, int):
            raise OvernightError(f"ReviewPolicy({name}={value!r}) is none: {name} is a whole number. Correct it.")
    return complete
