// A WebSocket that tells of a thousand changes a second, four to a job.
window.flooded = 0;
window.WebSocket = class {
  static OPEN = 1;
  readyState = 1;
  constructor() { setTimeout(() => this.onopen()); }
  close() {}
  send(text) {
    const { type, id, payload } = JSON.parse(text);
    if (type === 'connection_init') this.say({ type: 'connection_ack' });
    if (type === 'subscribe' && payload.query.includes('jobsUpdated')) setInterval(() => {
      for (let turn = 0; turn < 20; turn += 1) this.tell(id);
    }, 20);
  }
  say(message) { this.onmessage({ data: JSON.stringify(message) }); }
  tell(id) {
    this.say({ id, type: 'next', payload: { data: { jobsUpdated: this.job() } } });
  }
  job() {
    const number = window.flooded++;
    const now = new Date().toISOString();
    return { id: `job_flood${number >> 2}`, handler: 'flood', status: number % 4 === 3 ? 'SUCCEEDED' : 'RUNNING', version: 1 + number % 4,
      done: number % 4 === 3, backend: 'background', createdAt: now, runAt: null, startedAt: now, finishedAt: now, progress: null, error: null };
  }
};
