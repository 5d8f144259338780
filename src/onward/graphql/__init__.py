"""The GraphQL face: the schema, and the ways to it over HTTP, server-sent events and WebSocket."""
