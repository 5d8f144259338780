// The signal that a job waits for, as a form on the job's view.
import { ask } from './api.js';
import { el } from './dom.js';
import { SIGNAL_JOB } from './queries.js';
import { schemaForm } from './schema-form.js';

export class SignalForm {
  element = el('section', { class: 'card', 'aria-labelledby': 'signal-title', hidden: true });
  #answered;
  #shown = '';

  // `answered` is called when the server has taken a signal.
  constructor({ answered }) {
    this.#answered = answered;
  }

  // Made once for each wait: what somebody types stays while the job is shown again.
  show(job) {
    const wanted = job.wait?.schema ? `${job.wait.name} ${job.wait.since}` : '';
    if (wanted === this.#shown) return;
    this.#shown = wanted;
    this.element.hidden = !wanted;
    this.element.replaceChildren(...(wanted ? [el('h2', { id: 'signal-title' }, `Answer: ${job.wait.name}`), this.#form(job)] : []));
  }

  #form({ id, wait: { name, schema } }) {
    return schemaForm(schema, async (payload) => {
      const errors = (await ask(SIGNAL_JOB, { input: { id, name, payload } })).signalJob?.errors ?? [];
      if (!errors.length) this.#answered();
      return errors;
    });
  }
}
