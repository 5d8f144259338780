// The jobs that were sent from this page, each followed live until it is done.
import { announce, el, setAttribute, setText } from './dom.js';
import { between, length, moment } from './format.js';
import { toJob } from './route.js';
import { mark, remark, word } from './status.js';
import { Steps } from './steps.js';
import { note } from './table.js';

const KEPT = 4;

export class Follow {
  #feed;
  #list = el('ul', { class: 'followed' });
  #empty = el('div', { class: 'empty' },
    el('p', {}, 'Nothing sent yet.'), el('p', { class: 'faint' }, 'A job that you send is shown here, step by step, until it is done.'));
  #stops = [];

  constructor(place, feed) {
    this.#feed = feed;
    place.append(this.#empty, this.#list);
  }

  add(job) {
    this.#empty.hidden = true;
    const card = new Card(job);
    this.#list.prepend(card.element);
    announce(`${job.handler} accepted`);
    this.#stops.unshift(this.#feed.watch(job.id, (now) => now && card.show(now)));
    for (const stop of this.#stops.splice(KEPT)) stop();
    while (this.#list.childElementCount > KEPT) this.#list.lastElementChild.remove();
  }
}

class Card {
  #steps = new Steps({ brief: true });
  #bar = el('progress', { 'aria-label': 'Progress', hidden: true });
  #said = el('p', { class: 'small' });
  #done = false;

  constructor(job) {
    this.status = mark(job.status);
    this.element = el('li', { 'data-job': job.id },
      el('p', { class: 'line' }, el('a', { href: toJob(job.id) }, job.handler), this.status),
      this.#steps.element, this.#bar, this.#said);
    setText(this.#said, 'accepted');
  }

  show(job) {
    remark(this.status, job.status);
    this.#steps.show(job);
    showProgress(this.#bar, job);
    setText(this.#said, summary(job));
    setAttribute(this.#said, 'data-error', job.status === 'FAILED' ? '' : null);
    if (job.done && !this.#done) announce(`${job.handler} ${word(job.status).toLowerCase()}`);
    this.#done = job.done;
  }
}

export function showProgress(bar, job) {
  bar.hidden = job.done || !job.progress;
  if (bar.hidden) return;
  const { completed, total } = job.progress;
  setAttribute(bar, 'max', total || null);
  setAttribute(bar, 'value', total ? Math.min(completed, total) : null); // without a total it only says that work goes on
}

function summary(job) {
  if (job.status === 'SUCCEEDED' && job.startedAt) {
    return `done at ${moment(job.finishedAt)}, ${length(between(job.createdAt, job.finishedAt))} after it was accepted`;
  }
  return note(job, job.waitingFor) || `accepted at ${moment(job.createdAt)}`;
}
