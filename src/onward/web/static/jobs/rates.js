// How many jobs were accepted, succeeded and failed in each minute, counted since the page was opened.
import { serverNow } from './api.js';

const MINUTE = 60_000;
const KEPT = 120;
const REMEMBERED = 20_000;
const none = () => ({ accepted: 0, succeeded: 0, failed: 0, estimated: false });

export class Rates {
  since = new Date();
  #minutes = new Map();
  #open = new Map(); // id -> true: jobs seen and not yet done
  #done = new Map(); // id -> version: so that a job that arrives twice counts once
  #counts = null;

  // One change, from the feed.
  see(job) {
    const from = this.since.getTime() + serverNow() - Date.now() - 1_000; // the server's Date has whole seconds
    if (this.#done.get(job.id) === job.version) return;
    const known = this.#open.has(job.id) || this.#done.has(job.id);
    if (!known && Date.parse(job.createdAt) >= from) this.#now().accepted += 1;
    if (!job.done) return remember(this.#open, job.id, true);
    this.#open.delete(job.id);
    remember(this.#done, job.id, job.version);
    if (job.status === 'SUCCEEDED') this.#now().succeeded += 1;
    if (job.status === 'FAILED') this.#now().failed += 1;
  }

  // The counts by status that `viewer` sees. While no changes come in, their growth stands in, and the minute is marked.
  seeCounts(counts, live, viewer) {
    const before = this.#counts?.viewer === viewer ? this.#counts : null; // another one sees other jobs: none of them is new
    const total = Object.values(counts).reduce((sum, number) => sum + number, 0);
    this.#counts = { viewer, total, succeeded: counts.SUCCEEDED ?? 0, failed: counts.FAILED ?? 0 };
    if (live || !before) return;
    const minute = this.#now();
    minute.accepted += Math.max(0, total - before.total);
    minute.succeeded += Math.max(0, this.#counts.succeeded - before.succeeded);
    minute.failed += Math.max(0, this.#counts.failed - before.failed);
    minute.estimated = true;
  }

  // The last minutes, oldest first, the present one last.
  last(number) {
    const present = Math.floor(Date.now() / MINUTE);
    return Array.from({ length: number }, (_, index) => {
      const minute = present - number + 1 + index;
      return { start: new Date(minute * MINUTE), ...(this.#minutes.get(minute) ?? none()) };
    });
  }

  #now() {
    const minute = Math.floor(Date.now() / MINUTE);
    if (!this.#minutes.has(minute)) {
      this.#minutes.set(minute, none());
      for (const old of this.#minutes.keys()) if (old < minute - KEPT) this.#minutes.delete(old);
    }
    return this.#minutes.get(minute);
  }
}

function remember(map, id, value) {
  map.set(id, value);
  if (map.size > REMEMBERED) map.delete(map.keys().next().value);
}
