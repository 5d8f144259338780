// Made by `npm run generate` from operations/mail.graphql; do not edit.
import type { Operation } from '../graphql';

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
export type LettersVariables = Exact<{ [key: string]: never; }>;


export type Letters = { system: { letters: Array<{ id: string, recipient: string, subject: string, sentAt: string | null, text: string }> | null } };

export const letters: Operation<Letters, LettersVariables> = {
  text: "query letters {\n  system { letters { id recipient subject sentAt text } }\n}",
};
