// The recurring jobs: when each is due next, and the newest job made for it.
import { byId, el, setText } from './dom.js';
import { fully, moment } from './format.js';
import { toJob } from './route.js';

export class Schedule {
  #rows = new Map();

  show(entries) {
    byId('schedule-title').hidden = entries.length === 0;
    for (const entry of entries) {
      if (!this.#rows.has(entry.name)) this.#rows.set(entry.name, this.#row(entry));
      const { next, last } = this.#rows.get(entry.name);
      setText(next, entry.nextAt ? `next ${moment(entry.nextAt)}` : 'next time not known yet');
      if (entry.nextAt) next.title = fully(entry.nextAt);
      last.hidden = !entry.lastJob;
      if (entry.lastJob) {
        last.href = toJob(entry.lastJob.id);
        setText(last, `newest ${moment(entry.lastAt)}`);
      }
    }
  }

  #row({ name, handler, cron, timezone }) {
    const row = { next: el('span', { class: 'reach' }), last: el('a', {}) };
    byId('schedule').append(el('div', { class: 'queue' },
      el('p', {}, el('b', {}, name), row.next),
      el('p', {}, el('span', { class: 'faint' }, `${handler} at ${cron} ${timezone} `), row.last)));
    return row;
  }
}
