"""`python -m pipelines` is the command."""

from pipelines.cli import main

main()
