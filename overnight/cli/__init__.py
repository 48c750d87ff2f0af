"""The command line: what a person types; it finds a project's flows by name in the current folder."""

from overnight.cli.main import main

__all__ = ["main"]
