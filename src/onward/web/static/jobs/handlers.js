// The handlers, for who may hold them back: whether each is paused, and the button that changes it.
import { ask } from './api.js';
import { announce, byId, el, setAttribute, setText } from './dom.js';
import { count, fully, moment } from './format.js';
import { PAUSE_HANDLER, RESUME_HANDLER } from './queries.js';

export class Handlers {
  #rows = new Map();
  #look;

  // `look` asks the server anew once something was changed.
  constructor(look) { this.#look = look; }

  show(names, paused) {
    byId('handlers-box').hidden = names.length === 0;
    setText(byId('handlers-paused'), paused.length ? `${count(paused.length)} paused` : '');
    const pauses = new Map(paused.map((pause) => [pause.handler, pause]));
    // Also one that this release has no more, for as long as jobs may wait for it.
    for (const name of new Set([...names, ...(names.length ? pauses.keys() : [])])) {
      if (!this.#rows.has(name)) this.#rows.set(name, this.#row(name));
      const { state, press, said } = this.#rows.get(name);
      const pause = pauses.get(name);
      setText(state, pause ? `paused since ${moment(pause.since)}${pause.by ? ` by ${pause.by}` : ''}` : '');
      setAttribute(state, 'title', pause ? fully(pause.since) : null);
      setAttribute(state, 'data-ok', pause ? 'no' : null);
      setText(press, pause ? 'Resume' : 'Pause');
      setAttribute(press, 'aria-label', `${pause ? 'Resume' : 'Pause'} ${name}`);
      setAttribute(press, 'data-paused', pause ? '' : null);
      said.hidden = !said.textContent;
    }
  }

  #row(name) {
    const row = {
      state: el('span', { class: 'reach' }),
      press: el('button', { type: 'button', class: 'quiet', onclick: () => this.#turn(name) }),
      said: el('p', { class: 'error', role: 'alert', hidden: true }),
    };
    byId('handlers').append(el('div', { class: 'queue', 'data-handler': name },
      el('p', {}, el('span', {}, name), row.state, row.press), row.said));
    return row;
  }

  async #turn(name) {
    const { press, said } = this.#rows.get(name);
    const [query, field, word] = press.hasAttribute('data-paused')
      ? [RESUME_HANDLER, 'resumeHandler', 'resumed'] : [PAUSE_HANDLER, 'pauseHandler', 'paused'];
    press.disabled = true;
    try {
      const errors = (await ask(query, { input: { handler: name } }))[field]?.errors ?? [];
      setText(said, errors.map((error) => error.message).join(' '));
      if (!errors.length) announce(`${name} is ${word}`);
    } catch (error) {
      setText(said, error.message);
    }
    press.disabled = false;
    this.#look();
  }
}
