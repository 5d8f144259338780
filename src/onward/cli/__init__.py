"""The command line, `onward`."""
