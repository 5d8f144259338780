interface Problem {
  readonly code: string;
  readonly message: string;
  readonly path?: readonly string[] | null;
}

interface Payload {
  readonly job?: unknown;
  readonly errors?: readonly unknown[];
}

type ErrorOf<P extends Payload> = NonNullable<P['errors']>[number];

/** An error where the mutation has no payload: the whole request failed. */
export interface RequestError extends Problem {
  readonly path: null;
}

/** The end of a mutation: a job that is on disk, or errors to show. */
export type Outcome<P extends Payload> =
  | { readonly ok: true; readonly job: NonNullable<P['job']>; readonly payload: P }
  | { readonly ok: false; readonly errors: readonly (ErrorOf<P> | RequestError)[] };

/** Read a mutation's payload; `error` is the client's, which tells what happened if there is no payload. */
export function outcome<P extends Payload>(payload: P | null | undefined, error?: unknown): Outcome<P> {
  if (payload?.job) return { ok: true, job: payload.job, payload };
  const errors = (payload?.errors ?? []) as readonly ErrorOf<P>[];
  return { ok: false, errors: errors.length ? errors : [requestError(error)] };
}

interface GraphQLErrorLike {
  readonly message?: unknown;
  readonly extensions?: { readonly code?: unknown };
}

function requestError(error: unknown): RequestError {
  const { errors, graphQLErrors, message } = (error ?? {}) as Record<string, unknown>; // Apollo's, urql's, any
  const first = ([errors, graphQLErrors].find(Array.isArray)?.[0] ?? { message }) as GraphQLErrorLike;
  return {
    code: String(first.extensions?.code ?? 'NO_ANSWER'),
    message: typeof first.message === 'string' ? first.message : 'The server did not answer. Send it again.',
    path: null,
  };
}
