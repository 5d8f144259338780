"""Pages for people: the jobs page and the GraphQL explorer. They speak to `/graphql` alone."""
