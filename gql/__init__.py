"""The application's GraphQL types: its mutations, a file each, and the user."""
