"""The definition of a handler: its name, steps, retry policy and checked parameters."""
