import { graphql } from './made/gql.js';
import type { StateFragment } from './made/graphql.js';

export const Process = graphql(`
  mutation Process($input: ProcessItemInput!) {
    processItem(input: $input) { job { ...State } errors { code message path } }
  }
`);
export const State = graphql(`
  fragment State on Job { id status version result createdAt progress { completed total } output { __typename ... on Figures { words } } }
`);
export const Jobs = graphql(`
  query Jobs($filter: JobFilter) {
    jobs(first: 5, filter: $filter) { nodes { ...State } pageInfo { endCursor } }
  }
`);

// The output has the type of its handler's result.
export const words = (state: StateFragment): number | undefined =>
  state.output?.__typename === 'Figures' ? state.output.words : undefined;
