// What the server tells of itself: counts by status, backends, version, who asks. Asked for once a second while things move.
import { ask } from './api.js';
import { byId, el, setAttribute, setText } from './dom.js';
import { count, length, plural } from './format.js';
import { Handlers } from './handlers.js';
import { SYSTEM } from './queries.js';
import { Schedule } from './schedule.js';
import { STATUSES, word } from './status.js';

const BUSY_MS = 1_000;
const IDLE_MS = 4_000;
const HIDDEN_MS = 20_000;

export class System {
  #rates;
  #live;
  #listeners = new Set();
  #moved = true;
  #timer = 0;
  #cells = new Map();
  #queues = new Map();
  #schedule = new Schedule(() => this.look());
  #gates = new Handlers(() => this.look());
  handlers = [];
  refused = false; // whether the server wants a token and has none
  mailed = false; // whether messages go where they can be looked at

  // `live` tells whether changes come in; `choose` is called with the status whose count was pressed.
  constructor({ rates, live, choose }) {
    this.#rates = rates;
    this.#live = live;
    byId('counts').append(...STATUSES.map((status) => {
      const number = el('b', {}, '–');
      const press = el('button', { type: 'button', 'aria-pressed': 'false', 'data-status': status, onclick: () => choose(status) },
        number, el('span', { class: 'status', 'data-status': status }, word(status)));
      this.#cells.set(status, { number, press });
      return el('li', {}, press);
    }));
  }

  onTold(listener) { this.#listeners.add(listener); }

  // Something changed: the next look comes soon.
  stir() {
    if (this.#moved) return;
    this.#moved = true;
    this.#later(BUSY_MS);
  }

  async look() {
    this.#moved = false;
    let error = null;
    try {
      this.#show(await ask(SYSTEM));
    } catch (failure) {
      error = failure;
    }
    if (error?.code === 'NOT_AUTHENTICATED') this.refused = true;
    for (const listener of this.#listeners) listener(error);
    this.#later(document.hidden ? HIDDEN_MS : this.#moved ? BUSY_MS : IDLE_MS);
  }

  press(chosen) {
    for (const [status, { press }] of this.#cells) setAttribute(press, 'aria-pressed', chosen.includes(status));
  }

  #later(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), ms);
  }

  #show({ system, viewer }) {
    const counts = Object.fromEntries(system.counts.map((entry) => [entry.status, entry.count]));
    for (const [status, { number, press }] of this.#cells) {
      setText(number, count(counts[status] ?? 0));
      setAttribute(press, 'data-none', counts[status] ? null : '');
    }
    this.#rates.seeCounts(counts, this.#live(), `${viewer.id} ${viewer.roles}`);
    this.handlers = system.handlers;
    this.refused = !viewer.id && !viewer.roles.length;
    this.mailed = system.mailed !== null;
    for (const queue of system.queues) this.#queue(queue, queue.backend === system.backend && queue.queue === 'default');
    const own = viewer.roles.includes('admin') ? system.handlers : [];
    this.#schedule.show(system.schedules, own);
    this.#gates.show(own, system.paused);
    const who = viewer.id ? `You are ${viewer.id}${viewer.roles.length ? ` (${viewer.roles.join(', ')})` : ''}` : 'No one is signed in';
    setText(byId('about'), `Onward ${system.version} · jobs go to “${system.backend}” · ${who}`);
  }

  #queue(queue, preferred) {
    const name = queue.queue === 'default' ? queue.backend : `${queue.backend}, queue ${queue.queue}`;
    if (!this.#queues.has(name)) {
      const parts = { name: el('b', {}, name), state: el('span', { class: 'reach' }), depth: el('span', { class: 'faint' }) };
      this.#queues.set(name, parts);
      byId('queues').append(el('div', { class: 'queue' }, el('p', {}, parts.name, preferred ? el('span', { class: 'tag' }, 'default') : null, parts.state), el('p', {}, parts.depth)));
    }
    const { state, depth } = this.#queues.get(name);
    setText(state, queue.reachable ? 'reachable' : 'not reachable');
    setAttribute(state, 'data-ok', queue.reachable ? 'yes' : 'no');
    const waiting = queue.depth === null ? 'depth unknown' : queue.depth === 0 ? 'nothing waits' : `${plural(queue.depth, 'job')} waiting`;
    setText(depth, waiting + (queue.oldestAgeMs ? `, the oldest for ${length(queue.oldestAgeMs)}` : ''));
  }
}
