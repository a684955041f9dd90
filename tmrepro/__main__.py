"""`python -m tmrepro` is `tmrepro`."""

from tmrepro.cli import main

main()
