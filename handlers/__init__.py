"""What a job does. `HANDLERS` is the explicit table of those that come along."""
