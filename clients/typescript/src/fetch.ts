import { delayMs, wait } from './backoff.js';
import { isRepeatable } from './keyed.js';
import type { TokenSource } from './token.js';

export interface FetchOptions {
  token?: TokenSource | undefined;
  /** The function that sends; `globalThis.fetch` by default. */
  fetch?: typeof globalThis.fetch | undefined;
  /** Milliseconds for which a keyed mutation is sent again; 60,000 by default, 0 for never. */
  retryForMs?: number | undefined;
}

const UNAUTHENTICATED = 401;
const MAX_RENEWALS = 2; // a browser sends few requests at once: a short token may run out before its request leaves
const ANSWER_MS = 20_000; // longer than the server takes for any answer
const AWAY = new Set([502, 503, 504]); // of a proxy whose server restarts, or of the server itself

/**
 * A `fetch` for GraphQL with the token in its header, and a new one where the server answers 401.
 *
 * A mutation with an idempotency key is sent again, with the same key, after a lost connection and after UNAVAILABLE.
 */
export function onwardFetch({ token, fetch: given, retryForMs = 60_000 }: FetchOptions): typeof globalThis.fetch {
  const send = given ?? ((...sent: Parameters<typeof fetch>) => fetch(...sent));

  async function authorized(input: RequestInfo | URL, init: RequestInit): Promise<Response> {
    if (!token) return send(input, init);
    const withToken = async (refused: boolean) => {
      const bearer = await token(refused);
      const headers = new Headers(init.headers);
      if (bearer) headers.set('Authorization', `Bearer ${bearer}`);
      return send(input, { ...init, headers });
    };
    let response = await withToken(false);
    for (let renewed = 0; renewed < MAX_RENEWALS && response.status === UNAUTHENTICATED; renewed++) response = await withToken(true);
    return response;
  }

  return async (input, init = {}) => {
    if (!isRepeatable(init.body)) return authorized(input, init);
    const end = Date.now() + retryForMs;
    for (let attempts = 0; ; attempts++) {
      const pause = delayMs(attempts);
      const last = init.signal?.aborted || Date.now() + pause > end;
      try {
        const response = await authorized(input, { ...init, signal: limited(init.signal) });
        const text = await response.text(); // throws if the connection is lost in it
        if (last || !isLost(response.status, text)) return new Response(text, response);
      } catch (error) {
        if (last || init.signal?.aborted) throw error;
      }
      await wait(pause, init.signal);
    }
  };
}

/** The signal, and the end of the time for an answer; browsers of before 2024 wait for the network's own end. */
function limited(signal: AbortSignal | null | undefined): AbortSignal | null {
  return AbortSignal.any?.([AbortSignal.timeout(ANSWER_MS), ...(signal ? [signal] : [])]) ?? signal ?? null;
}

/** True if the answer does not tell whether the job was accepted. */
function isLost(status: number, text: string): boolean {
  if (AWAY.has(status)) return true;
  try {
    const { errors, data } = JSON.parse(text) as { errors?: { extensions?: { code?: unknown } }[]; data?: Record<string, { errors?: { code?: unknown }[] } | null> | null };
    const codes = [
      ...(errors ?? []).map((error) => error.extensions?.code),
      ...Object.values(data ?? {}).flatMap((payload) => (payload?.errors ?? []).map((error) => error.code)),
    ];
    return codes.includes('UNAVAILABLE');
  } catch {
    return status < 400; // half an answer
  }
}
