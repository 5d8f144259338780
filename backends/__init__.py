"""Backends, which bring an accepted job to the process that runs it."""
