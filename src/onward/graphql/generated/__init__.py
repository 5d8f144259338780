"""GraphQL types and mutations that are made from handlers, once, when the schema is built."""
