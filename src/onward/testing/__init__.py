"""For those who build on Onward: the laws that every backend keeps, and fixtures for tests of their own jobs."""
