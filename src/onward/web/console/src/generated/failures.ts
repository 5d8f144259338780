// Made by `npm run generate` from operations/failures.graphql; do not edit.
import type { Operation } from '../graphql';

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
export type FailuresVariables = Exact<{
  from: string;
  to: string;
  handler?: Array<string> | string | null | undefined;
  parts: number;
}>;


export type Failures = { failures: Array<{ handler: string, code: string, message: string, count: number, firstAt: string, lastAt: string, trend: Array<number> }> };

export type Group = { handler: string, code: string, message: string, count: number, firstAt: string, lastAt: string, trend: Array<number> };

export const failures: Operation<Failures, FailuresVariables> = {
  text: "query failures($from: DateTime!, $to: DateTime!, $handler: [String!], $parts: Int!) {\n  failures(from: $from, to: $to, handler: $handler, parts: $parts) { ...Group }\n}\nfragment Group on Failure {\n  handler\n  code\n  message\n  count\n  firstAt\n  lastAt\n  trend\n}",
};
