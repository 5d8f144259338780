"""The HTTP transport of `/graphql`, and the API process that serves it."""
