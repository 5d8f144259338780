"""The laws that every backend keeps, a noun a file. `testkit.conformance` gathers them."""
