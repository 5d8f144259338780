// The filter's form: what is chosen goes into the address, and the address makes the table.
import { ask } from './api.js';
import { question } from './dialogs.js';
import { announce, byId, el, setAttribute } from './dom.js';
import { plural } from './format.js';
import { asInput } from './filter.js';
import { RETRY_JOBS } from './queries.js';
import { toOverview } from './route.js';
import { RETRYABLE, word } from './status.js';

const LIMIT = 1_000;
const TYPING_MS = 350;

export class Filters {
  #filter = { status: [], handler: '' };
  #onResult;
  #timer = 0;
  #names = el('datalist', { id: 'handler-names' });
  #handler = el('input', {
    id: 'filter-handler', type: 'search', placeholder: 'Handler, e.g. email.*', 'aria-label': 'Handler; * stands for anything',
    list: 'handler-names', autocomplete: 'off', spellcheck: 'false', maxlength: 200,
    oninput: () => { clearTimeout(this.#timer); this.#timer = setTimeout(() => this.#apply(), TYPING_MS); },
  });
  #clear = el('button', { type: 'button', class: 'quiet', onclick: () => this.#go({ status: [], handler: '' }) }, 'Clear');
  #retry = el('button', { type: 'button', class: 'quiet', onclick: () => this.#retryAll() }, 'Retry all that match…');

  constructor({ onResult }) {
    this.#onResult = onResult;
    const form = byId('filters');
    form.append(this.#handler, this.#names, this.#clear, this.#retry);
    form.addEventListener('submit', (event) => { event.preventDefault(); this.#apply(); });
  }

  // What the address says.
  show(filter) {
    this.#filter = filter;
    if (document.activeElement !== this.#handler) this.#handler.value = filter.handler;
    this.#clear.hidden = !asInput(filter);
    const none = filter.status.length > 0 && this.#retryable().length === 0;
    this.#retry.disabled = none;
    setAttribute(this.#retry, 'title', none ? 'Only failed and cancelled jobs can be retried' : null);
  }

  handlers(names) {
    if (this.#names.childElementCount === names.length) return;
    this.#names.replaceChildren(...[...names].sort().map((name) => el('option', { value: name })));
  }

  toggle(status) {
    const chosen = this.#filter.status;
    this.#go({ ...this.#filter, status: chosen.includes(status) ? chosen.filter((one) => one !== status) : [...chosen, status] });
  }

  #apply() {
    clearTimeout(this.#timer);
    this.#go({ ...this.#filter, handler: this.#handler.value.trim() });
  }

  #go(filter) {
    if (toOverview(filter) !== (location.hash || '#/')) location.hash = toOverview(filter);
  }

  // Without a status chosen, it is the failed ones that are meant.
  #retryable() {
    return this.#filter.status.length ? this.#filter.status.filter((status) => RETRYABLE.includes(status)) : ['FAILED'];
  }

  async #retryAll() {
    const status = this.#retryable();
    const which = `${status.map((one) => word(one).toLowerCase()).join(' and ')} jobs`;
    const ofHandler = this.#filter.handler ? ` of ${this.#filter.handler}` : '';
    const yes = await question({
      title: `Retry all ${which}${ofHandler}?`,
      text: `At most ${LIMIT.toLocaleString()} at a time. Each goes on at the step that failed.`,
      yes: 'Retry them',
    });
    if (!yes) return;
    try {
      const { retryJobs } = await ask(RETRY_JOBS, { input: { filter: asInput({ ...this.#filter, status }), limit: LIMIT } });
      const refused = retryJobs?.errors?.[0];
      if (refused) throw new Error(refused.message);
      announce(`${plural(retryJobs.count, 'job')} retried`);
      this.#onResult(null, `${plural(retryJobs.count, 'job')} retried.`);
    } catch (error) {
      this.#onResult(error);
    }
  }
}
