// The page of the list that is shown. On the newest page jobs come in by themselves, while few come and nobody is in the
// rows; otherwise a button says how many wait above.
import { useEffect, useRef, useState } from 'preact/hooks';
import { jobs as asked, jobsUpdated, type Jobs, type Row } from '../../generated/jobs';
import { ask, connection, subscribe, type ApiError } from '../../graphql';
import { token } from '../../token';
import { asInput, matcher, type Filter, type Place } from './filter';

const SIZE = 25;
const FEW = 12;
export const MANY = 1_000;
const CALM_MS = 1_000;
const FOLD_MS = 250;
const FOLD_JOBS = 2_000;
const POLL_MS = 4_000;
const AGAIN_MS = 5_000;

export type Item = Row & { waitingFor?: string | null };
type Turn = { first: number; after?: string } | { last: number; before: string };

export interface Listed {
  rows: readonly Item[] | null; // null until the first answer
  fresh: number; // newer ones, offered by a button
  newest: boolean;
  info: Jobs['jobs']['pageInfo'] | null;
  error: ApiError | null;
}

const EMPTY: Listed = { rows: null, fresh: 0, newest: true, info: null, error: null };

// `held` says whether someone is reading or reaching for a row: then none moves away under them.
export class List {
  #filter: Filter;
  #place: Turn;
  #matches: (job: Row) => boolean;
  #held: () => boolean;
  #show: (listed: Listed) => void;
  #listed = EMPTY;
  #fresh = new Set<string>();
  #folded = new Map<string, Row>();
  #asked = 0;
  #cut = false; // changes may have been missed since the page was asked for
  #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #stops: (() => void)[] = [];

  constructor(filter: Filter, { older, newer }: Place, held: () => boolean, show: (listed: Listed) => void) {
    this.#filter = filter;
    this.#place = older ? { first: SIZE, after: older } : newer ? { last: SIZE, before: newer } : { first: SIZE };
    this.#matches = matcher(filter);
    this.#held = held;
    this.#show = show;
  }

  matches(job: Row): boolean { return this.#matches(job); }

  start(): void {
    this.#subscribe();
    const poll = setInterval(() => { if (!document.hidden && connection.value !== 'live') this.refresh(); }, POLL_MS);
    this.#stops.push(
      () => clearInterval(poll),
      connection.listen((state) => { if (state === 'live') this.#catchUp(); }),
      token.listen(() => void this.load(this.#place)),
    );
    void this.load(this.#place);
  }

  stop(): void {
    this.#asked = -1;
    for (const stop of this.#stops) stop();
    for (const timer of this.#timers.values()) clearTimeout(timer);
  }

  async load(page: Turn): Promise<void> {
    if (this.#asked < 0) return;
    const now = ++this.#asked;
    this.#cut = false;
    try {
      const { jobs } = await ask(asked, { ...page, filter: asInput(this.#filter) });
      if (now !== this.#asked) return; // a later question has been asked meanwhile
      const { nodes, pageInfo: info } = jobs;
      const newest = !('after' in page) && (!('before' in page) || !info.hasPreviousPage);
      this.#fresh.clear();
      this.#set({ rows: nodes.map((job) => this.#newer(job)), fresh: 0, newest, info, error: null });
    } catch (error) {
      if (now !== this.#asked) return;
      this.#set({ error: error as ApiError });
      // By the clock: an outage of the ledger closes no socket, and a page without rows takes no changes.
      this.#later('again', POLL_MS, () => { if (this.#listed.error && !document.hidden) void this.load(this.#shown()); });
    }
  }

  // The same page again, at most once a second; not while someone is in its rows, unless these may be old.
  refresh(): void {
    this.#later('refresh', CALM_MS, () => {
      if (document.hidden) return; // it catches up when it is shown
      const { newest, rows } = this.#listed;
      const keeps = newest ? rows?.length === SIZE && (this.#fresh.size > FEW || this.#held()) : rows && this.#held();
      if (keeps && !this.#cut) this.#offer();
      else void this.load(this.#shown());
    });
  }

  #catchUp(): void {
    this.#cut = true;
    this.refresh();
  }

  #shown(): Turn { return this.#listed.rows && this.#listed.newest ? { first: SIZE } : this.#place; }

  newestPage = () => void this.load({ first: SIZE });

  #subscribe(): void {
    const again = () => this.#later('subscribe', AGAIN_MS, () => { this.#subscribe(); this.#catchUp(); });
    this.#stops.push(subscribe(jobsUpdated, { filter: asInput(this.#filter) }, {
      next: ({ jobsUpdated: job }) => {
        const known = this.#folded.get(job.id);
        if (known && known.version > job.version) return;
        this.#folded.set(job.id, job);
        if (this.#folded.size >= FOLD_JOBS) this.#take(); // a busy page's timers are slow: memory stays bounded
        else this.#later('fold', FOLD_MS, () => this.#take());
      },
      failed: again,
      done: again,
    }));
  }

  // Changes, each job only as it is now.
  #take(): void {
    const { rows, newest } = this.#listed;
    if (!rows) return; // they stay folded until there is a page
    const changed = this.#folded;
    this.#folded = new Map();
    const shown = new Set(rows.map(({ id }) => id));
    for (const job of changed.values()) {
      if (!shown.has(job.id) && newest && this.#fresh.size < MANY && this.#matches(job) && this.#above(job)) this.#fresh.add(job.id);
    }
    if (rows.some(({ id }) => changed.has(id))) this.#set({ rows: rows.map((job) => merged(job, changed.get(job.id))) });
    if (!this.#fresh.size) return;
    if (rows.length < SIZE || (this.#fresh.size <= FEW && !this.#held())) this.refresh();
    else this.#offer();
  }

  #newer(job: Item): Item { return merged(job, this.#folded.get(job.id)); }

  #above(job: Row): boolean {
    const first = this.#listed.rows?.[0];
    return !first || Date.parse(job.createdAt) >= Date.parse(first.createdAt);
  }

  #offer(): void { this.#set({ fresh: this.#fresh.size }); }

  #set(changes: Partial<Listed>): void {
    this.#listed = { ...this.#listed, ...changes };
    if (this.#asked >= 0) this.#show(this.#listed);
  }

  #later(name: string, ms: number, call: () => void): void {
    if (this.#timers.has(name) || this.#asked < 0) return;
    this.#timers.set(name, setTimeout(() => { this.#timers.delete(name); call(); }, ms));
  }
}

// A change says nothing of what the job waits for: that holds until another version.
function merged(job: Item, change: Row | undefined): Item {
  if (!change || change.version < job.version) return job;
  return { ...change, waitingFor: change.version === job.version ? job.waitingFor ?? null : null };
}

export function useList(filter: Filter, place: Place, held: () => boolean): { list: List | null; listed: Listed } {
  const [listed, setListed] = useState<Listed>(EMPTY);
  const [list, setList] = useState<List | null>(null);
  const latest = useRef(held);
  latest.current = held;
  const key = JSON.stringify([filter, place]);
  useEffect(() => {
    const made = new List(filter, place, () => latest.current(), setListed);
    setList(made);
    made.start();
    return () => made.stop();
  }, [key]);
  return { list, listed };
}
