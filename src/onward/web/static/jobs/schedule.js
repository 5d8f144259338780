// The schedules: when each is due next, and its newest job; for admins the buttons that change it, and a form for a new one.
import { ask } from './api.js';
import { question } from './dialogs.js';
import { announce, byId, el, setAttribute, setText } from './dom.js';
import { input } from './forms.js';
import { fully, moment } from './format.js';
import { CREATE_SCHEDULE, DELETE_SCHEDULE, PAUSE_SCHEDULE, RESUME_SCHEDULE, RUN_SCHEDULE } from './queries.js';
import { toJob } from './route.js';

const SHOWN = 50; // as many as the query asks for

const OVERLAP = { ALLOW: '', SKIP: ', skips while the last job goes on', CANCEL_LAST: ', cancels the last job' };

export class Schedule {
  #rows = new Map();
  #look;
  #form = null;

  // `look` asks the server anew once something was changed.
  constructor(look) { this.#look = look; }

  show(entries, handlers) {
    const admin = handlers.length > 0;
    byId('schedule-title').hidden = entries.length === 0 && !admin;
    const shown = new Set();
    for (const entry of entries) {
      const key = JSON.stringify([entry.name, entry.handler, entry.cron, entry.timeZone, entry.overlap, entry.fromSettings]);
      shown.add(key);
      if (!this.#rows.has(key)) this.#rows.set(key, this.#row(entry));
      this.#fill(this.#rows.get(key), entry);
    }
    for (const [key, row] of this.#rows) {
      if (shown.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    byId('schedule-more').hidden = entries.length < SHOWN;
    if (admin && !this.#form) byId('schedule-new').append(this.#form = this.#newForm(handlers));
    byId('schedule-new').hidden = !admin;
  }

  #fill({ next, last, said, pause }, entry) {
    const paused = entry.pausedAt !== null;
    const by = entry.pausedBy ? ` by ${entry.pausedBy}` : '';
    setText(next, paused ? `paused since ${moment(entry.pausedAt)}${by}` : entry.nextAt ? `next ${moment(entry.nextAt)}` : 'next time not known yet');
    setAttribute(next, 'title', entry.upcoming.length ? entry.upcoming.map(fully).join('\n') : null);
    setAttribute(next, 'data-ok', paused || entry.problem ? 'no' : null);
    last.hidden = !entry.lastJob;
    if (entry.lastJob) {
      last.href = toJob(entry.lastJob.id);
      setText(last, `newest ${moment(entry.lastAt)}`);
    }
    const skipped = entry.skippedAt && (!entry.lastAt || entry.skippedAt > entry.lastAt);
    setText(said, entry.problem ?? (skipped ? `skipped ${moment(entry.skippedAt)}: the last job was not over` : ''));
    said.hidden = !said.textContent;
    setText(pause, paused ? 'Resume' : 'Pause');
    setAttribute(pause, 'aria-label', `${paused ? 'Resume' : 'Pause'} ${entry.name}`);
    setAttribute(pause, 'data-paused', paused ? '' : null);
  }

  #row({ name, handler, cron, timeZone, overlap, fromSettings }) {
    const refused = el('p', { class: 'error', role: 'alert', hidden: true });
    const button = (text, press) => el('button', { type: 'button', class: 'quiet', 'aria-label': `${text} ${name}`, onclick: press }, text);
    const change = (query, field, word) => this.#change(query, field, name, word, refused);
    const pause = button('Pause', () => (pause.hasAttribute('data-paused')
      ? change(RESUME_SCHEDULE, 'resumeSchedule', 'resumed') : change(PAUSE_SCHEDULE, 'pauseSchedule', 'paused')));
    const row = {
      next: el('span', { class: 'reach' }), last: el('a', {}), said: el('p', { class: 'faint' }), pause,
      element: el('div', { class: 'queue', 'data-schedule': name }),
    };
    row.element.append(
      el('p', {}, el('b', {}, name), fromSettings ? el('span', { class: 'tag' }, 'settings') : null, row.next),
      el('p', {}, el('span', { class: 'faint' }, `${handler} at ${cron} ${timeZone}${OVERLAP[overlap]} `), row.last),
      row.said,
      el('p', {}, pause, button('Run', () => change(RUN_SCHEDULE, 'runSchedule', 'accepted a job')),
        fromSettings ? null : button('Delete', async () => {
          const yes = await question({ title: `Delete ${name}?`, text: 'It makes no more jobs. Those that it has made stay.', yes: 'Delete' });
          if (yes) await change(DELETE_SCHEDULE, 'deleteSchedule', 'deleted');
        })),
      refused);
    byId('schedule').append(row.element);
    return row;
  }

  async #change(query, field, name, word, refused) {
    try {
      const errors = (await ask(query, { input: { name } }))[field]?.errors ?? [];
      setText(refused, errors.map((error) => error.message).join(' '));
      if (!errors.length) announce(`${name}: ${word}`);
    } catch (error) {
      setText(refused, error.message);
    }
    refused.hidden = !refused.textContent;
    this.#look();
  }

  #newForm(handlers) {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
    const fields = [
      { name: 'name', label: 'Name', type: 'text', placeholder: 'nightly', clear: true },
      { name: 'handler', label: 'Handler', type: 'select', options: handlers },
      { name: 'params', label: 'Parameters, as JSON', type: 'textarea', value: '{}' },
      { name: 'cron', label: 'Times: minute, hour, day of month, month, day of week', type: 'text', value: '30 7 * * MON-FRI' },
      { name: 'timeZone', label: 'Time zone', type: 'text', value: zone },
      { name: 'overlap', label: 'While its last job is not over', type: 'select', options: { ALLOW: 'make the next one all the same', SKIP: 'skip', CANCEL_LAST: 'cancel the last one' } },
      { name: 'missed', label: 'After times at which no process ran', type: 'select', options: { RUN_ONCE: 'make one job for all', SKIP: 'make none' } },
    ].map((field) => input('createSchedule', field));
    const said = el('p', { class: 'said', role: 'status' });
    const send = el('button', { class: 'main' }, 'Make schedule');
    const complain = (error) => fields.find((field) => field.name === error.path?.[0])?.complain(
      error.path.length > 1 ? `${error.path.slice(1).join('.')}: ${error.message}` : error.message);
    const submit = async (event) => {
      event.preventDefault();
      for (const field of fields) field.complain('');
      send.disabled = true;
      try {
        const values = Object.fromEntries(fields.map((field) => [field.name, field.read()]));
        try {
          values.params = JSON.parse(values.params || '{}');
        } catch {
          values.params = values.params.trim(); // which the server refuses, at its place
        }
        const errors = (await ask(CREATE_SCHEDULE, { input: values })).createSchedule?.errors ?? [];
        setText(said, errors.filter((error) => !complain(error)).map((error) => error.message).join(' ') || (errors.length ? '' : `${values.name} is made.`));
        setAttribute(said, 'data-error', errors.length ? '' : null);
        if (!errors.length) for (const field of fields) field.clear();
      } catch (error) {
        setText(said, error.message);
        setAttribute(said, 'data-error', '');
      }
      send.disabled = false;
      this.#look();
    };
    return el('details', {}, el('summary', {}, 'New schedule'),
      el('form', { novalidate: true, onsubmit: submit }, ...fields.map((field) => field.element), el('div', { class: 'actions' }, send), said));
  }
}
