// A page as Relay's users write one: a list that loads more, and a job that is asked for again by its id.
import { graphql } from 'relay-runtime';

export const query = graphql`
  query pageQuery($count: Int!, $cursor: String) {
    ...page_jobs
  }
`;
export const list = graphql`
  fragment page_jobs on Query @refetchable(queryName: "pageMoreQuery") {
    jobs(first: $count, after: $cursor) @connection(key: "page_jobs") {
      edges { node { id ...page_job } }
    }
  }
`;
export const job = graphql`
  fragment page_job on Job @refetchable(queryName: "pageJobQuery") {
    id
    status
    steps { name status }
    error { code message }
    output { __typename ... on Figures { words } }
  }
`;
export const retry = graphql`
  mutation pageRetryMutation($input: RetryJobInput!) {
    retryJob(input: $input) { job { ...page_job } errors { code } }
  }
`;
export const watch = graphql`
  subscription pageWatchSubscription($id: ID!) {
    jobUpdated(id: $id) { ...page_job }
  }
`;
