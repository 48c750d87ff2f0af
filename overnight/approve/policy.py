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
#: What each may be: from, up to, and whether the first and the last belong to it.
_RANGES = {
    "confidence": (0.5, 1.0, "from 0.5 to less than 1"),
    "max_bad_share": (0.0, 1.0, "from 0 to less than 1"),
    "n_seeds": (1, 21, "from 1 to 20"),
    "n_reviewers": (1, 11, "from 1 to 10"),
    "waits_d": (1e-5, math.inf, "more than 0"),
    "expires_h": (0.0, math.inf, "0 or more"),
}


def complete_policy(policy: ReviewPolicy | None, effect: str, *, waits_s: float, approval_s: float) -> ReviewPolicy:
    """
    The policy with every value: what the flow leaves open is decided by the sink's effect and the settings.

    Raises:
        OvernightError: A value is none that a review can have.
    """
    default = replace(_DEFAULTS[effect], waits_d=waits_s / 86_400, expires_h=approval_s / 3600)
    given = {f.name: getattr(policy, f.name) for f in fields(ReviewPolicy)} if policy else {}
    complete = replace(default, **{name: value for name, value in given.items() if value is not None})
    for name, (least, end, words) in _RANGES.items():
        value = getattr(complete, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < end:
            raise OvernightError(f"ReviewPolicy({name}={value!r}) is none: {name} is {words}. Correct it in the flow.")
        if name.startswith("n_") and not isinstance(value, int):
            raise OvernightError(f"ReviewPolicy({name}={value!r}) is none: {name} is a whole number. Correct it.")
    return complete
