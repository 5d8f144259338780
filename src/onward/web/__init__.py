"""Pages for people, on `/graphql` alone: the jobs page and the GraphQL explorer."""
