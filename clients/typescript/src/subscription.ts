import type { Sink, SubscribePayload } from 'graphql-ws';
import { delayMs, wait } from './backoff.js';
import type { SocketPool } from './pool.js';

/** Told that changes may have been missed; `sent` is true where all that come from now on are surely sent. */
export type Gap = (sent: boolean) => void;

const AGAIN = new Set(['LAGGING', 'UNAVAILABLE', 'TIMEOUT', 'RATE_LIMITED']);

/** A subscription for as long as it is wanted: begun again where the server ends it by an error that passes. */
export class LiveSubscription {
  readonly #pool: SocketPool;
  readonly #sink: Sink<any>;
  readonly #resumed: Resumed;
  readonly #now: () => Promise<unknown>;
  #failures = 0; // in a row
  #ended = false;
  #stop = () => {};

  /** `now` asks for the ledger's present `change`, and `gap` is told when changes may have been missed. */
  constructor(pool: SocketPool, payload: SubscribePayload, sink: Sink<any>, gap: Gap, now: () => Promise<unknown>) {
    this.#pool = pool;
    this.#sink = sink;
    this.#now = now;
    this.#resumed = new Resumed(payload, gap);
    this.#begin();
  }

  end(): void {
    this.#ended = true;
    this.#stop();
  }

  #begin(): void {
    const { client, release } = this.#pool.take();
    let failed = false;
    const cancel = client.subscribe(this.#resumed.payload, {
      next: (result) => {
        this.#failures = 0;
        this.#resumed.read(result.data);
        this.#sink.next(result);
      },
      error: (error) => {
        failed = true;
        release();
        void this.#fail(error);
      },
      complete: () => {
        release();
        if (this.#ended || failed) return;
        this.#ended = true;
        this.#sink.complete();
      },
    });
    this.#stop = () => {
      release();
      cancel();
    };
  }

  async #fail(error: unknown): Promise<void> {
    if (this.#ended) return;
    const code = codeOf(error);
    if (!this.#resumed.forgets(code) && !AGAIN.has(code)) {
      this.#ended = true;
      this.#sink.error(error);
      return;
    }
    await wait(delayMs(this.#failures++));
    // From there, nothing is missed between the lists that the page fetches then and the first change that is sent.
    if (!this.#ended && this.#resumed.isNowhere) this.#resumed.startFrom(await this.#now().catch(() => undefined));
    if (!this.#ended) this.#begin();
  }
}

/** The payload of a subscription, which goes on from the last change that it has seen if it declares `$afterChange`. */
class Resumed {
  /** The one that is sent: graphql-ws makes JSON of it each time. */
  readonly payload: SubscribePayload;
  readonly #resumes: boolean;
  #change: unknown;
  #fresh = false; // a change that the page was not fetched with
  #sent = 0;
  #heard = false;

  constructor(payload: SubscribePayload, gap: Gap) {
    const many = /\bjobsUpdated\b/.test(payload.query);
    this.#resumes = many && /\$afterChange\b/.test(payload.query);
    const { afterChange, ...variables } = payload.variables ?? {};
    this.#change = afterChange;
    const toJSON = () => {
      this.#sent += 1;
      this.#heard = false;
      const from = this.#resumes ? { afterChange: this.#change } : {};
      if (many && this.#sent > 1 && (this.#fresh || !from.afterChange)) gap(this.#fresh);
      this.#fresh = false;
      return { ...payload, variables: { ...variables, ...from } };
    };
    this.payload = { ...payload, toJSON } as SubscribePayload;
  }

  /** True if it would go on from a change, and knows none. */
  get isNowhere(): boolean {
    return this.#resumes && !this.#change;
  }

  /** Begin at a change that is newer than what the page shows; anywhere if there is none. */
  startFrom(change: unknown): void {
    this.#change = change;
    this.#fresh = Boolean(change);
  }

  read(data: unknown): void {
    const change = (data as { jobsUpdated?: { change?: unknown } } | null | undefined)?.jobsUpdated?.change;
    if (typeof change === 'string') this.#change = change;
    this.#heard = true;
  }

  /** Drop the change if the server says by this code that it cannot go on from it; return whether it was so. */
  forgets(code: string): boolean {
    // LAGGING after a message ended a subscription that was too slow; without one, too much has changed meanwhile.
    const lost = this.#change !== undefined && (code === 'BAD_CHANGE' || (code === 'LAGGING' && !this.#heard));
    if (lost) this.#change = undefined;
    return lost;
  }
}

/** The code of the first error that ended a subscription. */
function codeOf(error: unknown): string {
  const first = (Array.isArray(error) ? error[0] : undefined) as { extensions?: { code?: unknown } } | undefined;
  return String(first?.extensions?.code ?? '');
}
