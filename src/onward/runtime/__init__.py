"""Builds and runs one process's parts from the settings: the composition root."""
