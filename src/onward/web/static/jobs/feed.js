// Changes of jobs, folded: listeners hear at most a few times a second, and of each job only its latest state.
import { ask } from './api.js';
import { JOB, JOB_UPDATED, JOBS_UPDATED } from './queries.js';

const FOLD_MS = 250;
const FOLD_JOBS = 2_000;
const POLL_MS = 1_500;
const FRESHEN = 3; // while live, ask at every third beat: `waitingFor` can change without a new version

export class Feed {
  #socket;
  #folded = new Map();
  #timer = 0;
  #each = new Set();
  #batches = new Set();

  constructor(socket) {
    this.#socket = socket;
  }

  // `each` hears every message as it comes and must be quick; `batch` hears Maps from id to job.
  onEach(listener) { this.#each.add(listener); }
  onBatch(listener) { this.#batches.add(listener); }

  start() {
    this.#socket.subscribe(JOBS_UPDATED, {}, {
      next: ({ jobsUpdated: job }) => this.take(job),
      done: () => setTimeout(() => this.start(), POLL_MS),
      failed: () => setTimeout(() => this.start(), 10 * POLL_MS),
    });
  }

  take(job) {
    const known = this.#folded.get(job.id);
    if (known && known.version > job.version) return;
    for (const listener of this.#each) listener(job);
    this.#folded.set(job.id, job);
    if (this.#folded.size >= FOLD_JOBS) this.#flush(); // a hidden page's timers are slow: memory stays bounded
    else if (!this.#timer) this.#timer = setTimeout(() => requestAnimationFrameOrNow(() => this.#flush()), FOLD_MS);
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const batch = this.#folded;
    this.#folded = new Map();
    if (batch.size) for (const listener of this.#batches) listener(batch);
  }

  // One job until it is done: by the socket, and by asking while there is none. `onJob` gets whole jobs, null for "no such job".
  watch(id, onJob) {
    let version = 0;
    let stopped = false;
    let frame = 0;
    let latest = null;
    const show = () => { frame = 0; if (!stopped) onJob(latest); };
    const take = (job) => {
      if (stopped || (job && job.version < version)) return;
      version = job?.version ?? 0;
      latest = job;
      if (!frame) frame = setTimeout(show, 50);
      if (job?.done) quit();
    };
    const poll = async () => {
      const answer = await ask(JOB, { id }).catch(() => null);
      if (answer) take(answer.job);
    };
    const leave = this.#socket.subscribe(JOB_UPDATED, { id }, {
      next: ({ jobUpdated }) => take(jobUpdated),
      failed: poll,
      done: poll, // the last word, also when the stream ended early
    });
    let beats = 0;
    const pulse = setInterval(() => {
      beats += 1;
      if (this.#socket.state !== 'live' || beats % FRESHEN === 0) poll();
    }, POLL_MS);
    poll();
    function quit() {
      clearInterval(pulse);
      leave();
    }
    return () => { stopped = true; clearTimeout(frame); quit(); };
  }
}

function requestAnimationFrameOrNow(call) {
  if (document.hidden) call();
  else requestAnimationFrame(call);
}
