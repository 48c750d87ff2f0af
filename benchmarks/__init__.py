"""Figures of the engine, each beside its floor, measured in the same run."""
