// The messages in files, shown as plain text during development.
import { ask } from './api.js';
import { byId, el } from './dom.js';
import { fully, moment } from './format.js';
import { SENT_EMAILS } from './queries.js';

export class SentEmails {
  #place = byId('sent-emails');
  #shown = '';
  #opened = new Set();

  constructor() {
    this.#place.addEventListener('toggle', () => this.look());
  }

  // Queries only while the section is open.
  async look() {
    if (!this.#place.open) return;
    const { system: { letters: emails } } = await ask(SENT_EMAILS);
    const fresh = JSON.stringify(emails);
    if (fresh === this.#shown) return;
    this.#shown = fresh;
    byId('sent-emails-list').replaceChildren(...(emails.length ? emails.map((email) => this.#row(email))
      : [el('p', { class: 'faint' }, 'No message yet: register a user.')]));
  }

  #row({ id, recipient, subject, sentAt, text }) {
    const row = el('details', { class: 'email', 'data-email': id, open: this.#opened.has(id) },
      el('summary', {}, el('b', {}, subject), ` to ${recipient} `,
        sentAt ? el('time', { class: 'faint', datetime: sentAt, title: fully(sentAt) }, moment(sentAt)) : null),
      el('pre', {}, text));
    row.addEventListener('toggle', () => (row.open ? this.#opened.add(id) : this.#opened.delete(id)));
    return row;
  }
}
