"""The application's handlers: the work of its jobs."""
