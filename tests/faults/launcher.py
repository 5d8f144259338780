"""Starts the program with faults built in, which the environment names."""
