"""The contract tests that every backend passes, one subject a file. `onward.testing.conformance` gathers them."""
