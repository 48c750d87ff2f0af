"""Nightly language-model work on real data: never paid for twice, checked, held until read."""

__version__ = "0.1.0"
