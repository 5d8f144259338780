import { graphql } from './made/gql.js';

export const Process = graphql(`
  mutation Process($input: ProcessItemInput!) {
    processItem(input: $input) { job { ...State } errors { code message path } }
  }
`);
export const State = graphql(`
  fragment State on Job { id status version result createdAt progress { completed total } }
`);
export const Jobs = graphql(`
  query Jobs($filter: JobFilter) {
    jobs(first: 5, filter: $filter) { nodes { ...State } pageInfo { endCursor } }
  }
`);
