import { selectedFields, type ParsedDocument, type SelectedFields } from './documents.js';

/** The fields that tell which job a snapshot is of, and which of two snapshots is newer. */
export interface Snapshot {
  readonly id: string;
  readonly version: number;
}

/** Told that an answer has shown a newer version of a job. */
export type Listener = (version: number) => void;

interface Known {
  version: number;
  readonly fields: Map<string, { version: number; value: unknown }>;
}

const PREFIX = 'job_';

/**
 * The newest known fields of each job.
 *
 * Answers overtake one another: a mutation's may come after a subscription's last word on the same job. Each answer goes
 * through `fold`, and comes out with no job older than in any answer before.
 */
export class JobMemory {
  readonly #jobs = new Map<string, Known>();
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #limit: number;

  /** `limit` is the number of jobs that are remembered; those that were seen last stay. */
  constructor({ limit = 1000 }: { limit?: number } = {}) {
    this.#limit = limit;
  }

  /**
   * An answer's `data` with the newest known fields in place of older ones; the same object where nothing is older.
   *
   * Only jobs with `id` and `version` are known. With the document, a field such as `steps` is replaced only by one with
   * the same fields inside; without it, all answers are taken to select the same.
   */
  fold<T>(data: T, document?: ParsedDocument): T {
    const newer = new Map<string, number>();
    const folded = this.#walk(data, document && selectedFields(document), newer);
    if (newer.size) queueMicrotask(() => newer.forEach((version, id) => this.#listeners.get(id)?.forEach((tell) => tell(version))));
    return folded as T;
  }

  /** The newest version that was seen of the job; 0 if none was. */
  version(id: string): number {
    return this.#jobs.get(id)?.version ?? 0;
  }

  /** Tell of each newer version of the job, until the returned function is called. */
  listen(id: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (!listeners.size && this.#listeners.get(id) === listeners) this.#listeners.delete(id);
    };
  }

  /** Forget all jobs, as when another user signs in. */
  clear(): void {
    this.#jobs.clear();
  }

  #walk(value: unknown, fields: SelectedFields | undefined, newer: Map<string, number>): unknown {
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) {
      const folded = value.map((item) => this.#walk(item, fields, newer));
      return folded.some((item, index) => item !== value[index]) ? folded : value;
    }
    let folded = value as Record<string, unknown>;
    if (isSnapshot(folded)) folded = this.#newest(folded, fields, newer);
    for (const [name, before] of Object.entries(folded)) {
      const selected = fields?.get(name);
      if (fields && !selected?.fields) continue; // a scalar: JSON may look like anything
      const after = this.#walk(before, selected?.fields, newer);
      if (after === before) continue;
      if (folded === value) folded = { ...folded };
      folded[name] = after;
    }
    return folded;
  }

  #newest(job: Record<string, unknown> & Snapshot, fields: SelectedFields | undefined, newer: Map<string, number>): Record<string, unknown> {
    const { id, version } = job; // before it is rewritten
    const known = this.#touch(id);
    if (version > known.version) newer.set(id, (known.version = version));
    let folded: Record<string, unknown> = job;
    for (const [name, value] of Object.entries(job)) {
      const selected = fields?.get(name);
      if (selected?.hasArguments) continue;
      const key = selected?.key ?? name;
      if (key === 'change') continue; // a page's own go with its jobs: with a later one, what the others missed is not sent
      const field = known.fields.get(key);
      if (field && field.version > version) {
        if (folded === job) folded = { ...job };
        folded[name] = field.value;
      } else {
        known.fields.set(key, { version, value });
      }
    }
    return folded;
  }

  #touch(id: string): Known {
    const known = this.#jobs.get(id) ?? { version: 0, fields: new Map() };
    this.#jobs.delete(id);
    this.#jobs.set(id, known); // a Map keeps its order: the first is the one that was seen longest ago
    if (this.#jobs.size > this.#limit) this.#jobs.delete(this.#jobs.keys().next().value!);
    return known;
  }
}

function isSnapshot(value: Record<string, unknown>): value is Record<string, unknown> & Snapshot {
  return typeof value.version === 'number' && typeof value.id === 'string' && value.id.startsWith(PREFIX);
}
