"""The laws that every backend keeps, a noun a file. `onward.testing.conformance` gathers them."""
