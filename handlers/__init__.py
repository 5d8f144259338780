"""The application's handlers: what its jobs do."""
