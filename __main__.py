"""`python -m profilegym`."""

from .apps.cli import main

main()
