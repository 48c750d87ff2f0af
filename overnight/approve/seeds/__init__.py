"""Seeds: real answers made plainly wrong, to see whether a reviewer reads."""

from overnight.approve.seeds.known import find_known, take_known
from overnight.approve.seeds.making import Mutator, Seed, make_seeds
from overnight.approve.seeds.own import load_mutators
from overnight.approve.seeds.veiled import Make, is_seen, make_veiled

__all__ = [
    "Make",
    "Mutator",
    "Seed",
    "find_known",
    "is_seen",
    "load_mutators",
    "make_seeds",
    "make_veiled",
    "take_known",
]
