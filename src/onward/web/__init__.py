"""Pages for people, on `/graphql` alone: the console and the GraphQL explorer."""
