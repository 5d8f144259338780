"""Pages for people, on `/graphql` alone: the jobs page, the console and the GraphQL explorer."""
