"""`python -m overnight` is the command `overnight`."""

from overnight.cli import main

main()
