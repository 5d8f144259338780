"""Parses, limits, caches and executes GraphQL documents."""
