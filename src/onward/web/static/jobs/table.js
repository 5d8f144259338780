// A page of jobs. Rows are made once and then changed cell by cell; widths are fixed, so a change moves nothing else.
import { el, setAttribute, setText } from './dom.js';
import { between, fully, length, moment } from './format.js';
import { toJob } from './route.js';
import { mark, remark, TERMINAL } from './status.js';

const SHOWN = 8; // characters of an id that stay where it is narrow: its end, since ids of one day begin alike
const HEADS = ['Status', 'Handler', 'Note', 'Job', 'Backend', 'Created', 'Took'];

export class Table {
  #rows = new Map();
  #body = el('tbody', { role: 'rowgroup' });
  // Roles, because the narrow layout changes `display`, and with it what some browsers take for a table.
  element = el('table', { class: 'jobs', role: 'table', 'aria-labelledby': 'jobs-title' },
    el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, HEADS.map((head) => el('th', { scope: 'col', role: 'columnheader' }, head)))),
    this.#body);

  show(jobs, matches) {
    const rows = new Map(jobs.map((job) => [job.id, this.#rows.get(job.id) ?? row(job)]));
    this.#rows = rows;
    for (const job of jobs) this.change(job, matches);
    this.#body.replaceChildren(...[...rows.values()].map((cells) => cells.row));
  }

  has(id) { return this.#rows.has(id); }
  get size() { return this.#rows.size; }

  // Whether someone is reading or reaching for a row: then none moves away under them.
  get held() { return this.#body.contains(document.activeElement) || this.#body.matches(':hover'); }

  change(job, matches) {
    const cells = this.#rows.get(job.id);
    if (!cells || cells.version > job.version) return;
    const waitingFor = job.waitingFor ?? (cells.version === job.version ? cells.waitingFor : null);
    Object.assign(cells, { version: job.version, waitingFor });
    remark(cells.status, job.status);
    setText(cells.note, note(job, waitingFor));
    setAttribute(cells.note, 'data-error', job.error && job.status === 'FAILED' ? '' : null);
    setText(cells.backend, job.backend);
    setText(cells.took, took(job));
    setAttribute(cells.row, 'data-left', matches(job) ? null : '');
  }

  focus(id) { this.#rows.get(id)?.link.focus(); }
}

function row(job) {
  const cells = {
    version: 0,
    waitingFor: null,
    status: mark(job.status),
    link: el('a', { href: toJob(job.id), class: 'mono', title: job.id }, el('span', {}, job.id.slice(0, -SHOWN)), el('span', {}, job.id.slice(-SHOWN))),
    note: el('span', { class: 'note' }),
    backend: el('span'),
    took: el('span'),
  };
  const created = el('time', { datetime: job.createdAt, title: fully(job.createdAt) }, moment(job.createdAt));
  const parts = { status: cells.status, handler: job.handler, note: cells.note, job: cells.link, backend: cells.backend, created, took: cells.took };
  cells.row = el('tr', { role: 'row' }, Object.entries(parts).map(([name, part]) => el('td', { role: 'cell', class: `at-${name}` }, part)));
  return cells;
}

export function note(job, waitingFor) {
  if (job.status === 'SCHEDULED' && job.runAt) return `not before ${moment(job.runAt)}`;
  if (job.error && (job.status === 'FAILED' || job.status === 'RETRYING')) return job.error.message;
  if (job.progress && !job.done) {
    const { completed, total, message } = job.progress;
    return [total ? `${completed} of ${total}` : String(completed), message].filter(Boolean).join(' · ');
  }
  return job.done || !waitingFor ? '' : `waiting for ${waitingFor}`;
}

function took(job) {
  return job.startedAt && job.finishedAt && TERMINAL.has(job.status) ? length(between(job.startedAt, job.finishedAt)) : '';
}
