"""The GraphQL schema and the execution of its documents; `onward.api` serves them."""
