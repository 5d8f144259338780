// The messages that were written into files: shown as text and nothing else, while one develops.
import { ask } from './api.js';
import { byId, el } from './dom.js';
import { fully, moment } from './format.js';
import { LETTERS } from './queries.js';

export class Letters {
  #place = byId('letters');
  #shown = '';
  #opened = new Set();

  constructor() {
    this.#place.addEventListener('toggle', () => this.look());
  }

  // Asked for only while somebody looks.
  async look() {
    if (!this.#place.open) return;
    const { system: { letters } } = await ask(LETTERS);
    const fresh = JSON.stringify(letters);
    if (fresh === this.#shown) return;
    this.#shown = fresh;
    byId('letters-list').replaceChildren(...(letters.length ? letters.map((letter) => this.#row(letter))
      : [el('p', { class: 'faint' }, 'No message yet: register a user.')]));
  }

  #row({ id, recipient, subject, sentAt, text }) {
    const row = el('details', { class: 'letter', 'data-letter': id, open: this.#opened.has(id) },
      el('summary', {}, el('b', {}, subject), ` to ${recipient} `,
        sentAt ? el('time', { class: 'faint', datetime: sentAt, title: fully(sentAt) }, moment(sentAt)) : null),
      el('pre', {}, text));
    row.addEventListener('toggle', () => (row.open ? this.#opened.add(id) : this.#opened.delete(id)));
    return row;
  }
}
