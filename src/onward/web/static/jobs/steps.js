// The steps of a job as a timeline: what each does, and when within the run.
import { el, setAttribute, setText } from './dom.js';
import { between, json, length } from './format.js';
import { word } from './status.js';

export class Steps {
  #parts = [];
  element = el('ol', { class: 'steps' });

  // `brief` leaves out the results.
  constructor({ brief = false } = {}) {
    this.brief = brief;
    if (brief) this.element.classList.add('brief');
  }

  show(job) {
    if (this.#parts.length !== job.steps.length) {
      this.#parts = job.steps.map((step) => this.#make(step));
      this.element.replaceChildren(...this.#parts.map((part) => part.element));
    }
    job.steps.forEach((step, index) => this.#change(this.#parts[index], step, job.startedAt));
  }

  #make(step) {
    const part = { name: el('b', {}, step.name), state: el('span', { class: 'faint' }), result: el('pre'), details: null };
    part.details = el('details', { hidden: true }, el('summary', {}, 'Result'), part.result);
    part.element = el('li', {}, el('p', {}, part.name, ' ', part.state), this.brief ? null : part.details);
    return part;
  }

  #change(part, step, startedAt) {
    setAttribute(part.element, 'data-status', step.status);
    const took = step.startedAt && step.finishedAt ? ` · ${length(between(step.startedAt, step.finishedAt))}` : '';
    const after = startedAt && step.startedAt ? between(startedAt, step.startedAt) : 0;
    const into = !this.brief && took && after >= 1 ? `, ${length(after)} into the run` : '';
    setText(part.state, word(step.status).toLowerCase() + took + into);
    const has = step.result !== null && step.result !== undefined;
    part.details.hidden = !has;
    if (has && !this.brief) setText(part.result, json(step.result));
  }
}
