"""Run the command line: `python -m onward`."""

from onward.cli.main import run

run()
