import type { ParsedDocument, TypedDocument } from './documents.js';
import type { JobSource } from './follow.js';
import type { Onward } from './connect.js';

interface Result {
  readonly data?: any;
  readonly errors?: readonly { readonly message: string }[] | undefined;
}

/** Follow jobs over the socket alone, without a GraphQL client. The document is a text, or prints as one. */
export function plainSource(onward: Onward): JobSource {
  return {
    memory: onward.memory,
    subscribe(document, id, sink) {
      return onward.subscribe(
        { query: String(document), variables: { id } },
        {
          next: ({ data, errors }: Result) => {
            if (errors?.length) sink.error(toError(errors));
            else sink.next(onward.memory.fold(data).jobUpdated);
          },
          error: (error) => sink.error(toError(error)),
          complete: () => {},
        },
      );
    },
  };
}

/** Send a query or a mutation, and return its `data`, folded; throw an Error with `errors` if there is none. */
export async function request<Data, Variables>(onward: Onward, document: Exclude<TypedDocument<Data, Variables>, ParsedDocument> | string, variables: Variables, signal?: AbortSignal): Promise<Data> {
  const response = await onward.fetch(onward.url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'application/graphql-response+json, application/json' },
    body: JSON.stringify({ query: String(document), variables }),
    ...(signal && { signal }),
  });
  const { data, errors } = (await response.json()) as Result;
  if (errors?.length && !data) throw toError(errors);
  return onward.memory.fold(data) as Data;
}

/** An Error of what ended a request or a subscription: GraphQL errors, a close event, anything thrown. */
export function toError(error: unknown): Error {
  if (error instanceof Error) return error;
  if (Array.isArray(error)) return Object.assign(new Error(error.map(({ message }) => message).join(' ')), { errors: error });
  const { code, reason } = (error ?? {}) as Partial<CloseEvent>;
  return new Error(code ? `The socket was closed with ${code}: ${reason}` : 'The connection was lost.', { cause: error });
}
