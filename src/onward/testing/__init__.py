"""Pytest fixtures for handlers and mutations, and the conformance suite that every backend passes."""
