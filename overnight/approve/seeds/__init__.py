"""Seeds: real answers made plainly wrong, to see whether a reviewer reads."""

from overnight.approve.seeds.making import Mutator, Seed, make_seeds
from overnight.approve.seeds.own import load_mutators

__all__ = ["Mutator", "Seed", "load_mutators", "make_seeds"]
