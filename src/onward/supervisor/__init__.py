"""Runs several processes on one machine: restarts those that die and stops them in order."""
