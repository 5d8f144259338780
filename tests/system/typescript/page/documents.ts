import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { parse } from 'graphql';
import { keyed, type Followed } from 'onward-client';

export interface Job extends Followed {
  __typename: 'Job';
  status: string;
  change: string;
  progress: { completed: number } | null;
}

export interface Payload {
  job: Job | null;
  errors: { code: string; message: string }[];
}

interface Input {
  ticks: number;
  idempotencyKey?: string | null;
}

const FIELDS = 'fragment Fields on Job { __typename id version change status done progress { __typename completed } }';
const typed = <Data, Variables>(text: string) => parse(`${text} ${FIELDS}`) as TypedDocumentNode<Data, Variables>;

export const Send = typed<{ slowCount: Payload | null }, { input: Input }>(
  'mutation Send($input: SlowCountInput!) { slowCount(input: $input) { job { ...Fields } errors { code message } } }',
);
export const Watch = typed<{ jobUpdated: Job }, { id: string }>(
  'subscription Watch($id: ID!) { jobUpdated(id: $id) { ...Fields } }',
);
export const Live = typed<{ jobsUpdated: Job }, { afterChange?: string }>(
  'subscription Live($afterChange: String) { jobsUpdated(afterChange: $afterChange) { ...Fields } }',
);
export const Newest = typed<{ jobs: { change: string; nodes: Job[] } }, Record<string, never>>(
  'query Newest { jobs(first: 200) { change nodes { ...Fields } } }',
);
export const Fields = parse(FIELDS) as TypedDocumentNode<Job, Record<string, never>>;

export const input = (ticks: number) => keyed<Input>({ ticks });
