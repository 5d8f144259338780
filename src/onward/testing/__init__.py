"""Pytest fixtures for handlers and mutations, and the conformance suite that every backend passes."""

from onward.config import extras

if not extras.is_installed("testing"):
    raise ImportError(f"onward.testing {extras.needs('testing')}")
