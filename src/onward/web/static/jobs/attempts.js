// The attempts of a job as a table, the latest first.
import { el } from './dom.js';
import { between, length, moment } from './format.js';

const HEADS = ['No.', 'Started', 'Took', 'Backend', 'Worker', 'Outcome'];

export class Attempts {
  #body = el('tbody', { role: 'rowgroup' });
  #shown = '';
  element = el('table', { class: 'attempts', role: 'table', 'aria-labelledby': 'attempts-title' },
    el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, HEADS.map((head) => el('th', { scope: 'col', role: 'columnheader' }, head)))),
    this.#body);

  show(job) {
    const shown = JSON.stringify(job.attempts);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#body.replaceChildren(...[...job.attempts].sort((a, b) => b.number - a.number).map(row));
  }
}

function row(attempt) {
  const { error } = attempt;
  const outcome = error ? [el('b', { class: 'mono' }, error.code), ` ${error.message}`] : [attempt.finishedAt ? 'ended without error' : 'runs'];
  const cells = [
    [String(attempt.number), attempt.charged ? null : el('span', { class: 'tag', title: 'This attempt does not count towards the limit' }, 'not charged')],
    moment(attempt.startedAt),
    attempt.finishedAt ? length(between(attempt.startedAt, attempt.finishedAt)) : '',
    attempt.backend,
    attempt.worker,
    el('span', {}, outcome),
  ];
  return el('tr', { role: 'row', 'data-error': Boolean(error) },
    cells.map((cell, index) => el('td', { role: 'cell', 'data-head': HEADS[index] }, cell)));
}
