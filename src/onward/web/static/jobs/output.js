// What a job gives while it runs: texts follow each other as they come, any other chunk is a line, a step that runs again has a heading.
import { el, setText } from './dom.js';
import { JOB_OUTPUT } from './queries.js';

const KEPT = 200_000; // characters: a page stays quick
const FOLD_MS = 60; // as often as the server has something new
const AGAIN_MS = 1_500;

export class Output {
  #socket;
  #box = el('pre', { tabindex: '0', role: 'log', 'aria-label': 'Output' });
  #leave = () => {};
  #again = 0;
  #fold = 0;

  constructor(socket) {
    this.#socket = socket;
    this.element = el('section', { class: 'card output', 'aria-labelledby': 'output-title', hidden: true }, el('h2', { id: 'output-title' }, 'Output'), this.#box);
  }

  // From the chunk after the last one on: after a cut the socket subscribes again with the same variables. Called again
  // when a run begins after the end of another.
  follow(id) {
    this.close();
    const last = this.#last ??= { variables: { id, after: null }, attempts: {}, line: true };
    this.#leave = this.#socket.subscribe(JOB_OUTPUT, last.variables, {
      next: ({ jobOutput: chunk }) => this.#take(last, chunk),
      failed: () => { this.#again = setTimeout(() => this.follow(id), AGAIN_MS); },
    });
  }

  close() {
    clearTimeout(this.#again);
    this.#leave();
    this.#leave = () => {};
  }

  #last = null;
  #waiting = '';

  #take(last, { offset, attempt, step, data }) {
    const { after } = last.variables;
    if (after !== null && offset <= after) return;
    const missing = offset - (after ?? -1) - 1;
    let text = '';
    if (missing) text += `[${missing} older chunks are no longer kept]\n`;
    if ((last.attempts[step] ?? attempt) !== attempt) text += `${last.line ? '' : '\n'}[${step} again, in attempt ${attempt}]\n`;
    if (typeof data === 'string') text += data;
    else text += `${last.line || text ? '' : '\n'}${JSON.stringify(data)}\n`;
    last.variables.after = offset;
    last.attempts[step] = attempt;
    if (text) last.line = text.endsWith('\n');
    this.#waiting += text;
    if (!this.#fold) this.#fold = setTimeout(() => this.#show(), FOLD_MS);
  }

  #show() {
    this.#fold = 0;
    const box = this.#box;
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40; // who has scrolled up goes on reading there
    box.append(this.#waiting);
    this.#waiting = '';
    if (box.textContent.length > KEPT * 1.5) setText(box, `…${box.textContent.slice(-KEPT)}`);
    this.element.hidden = false;
    if (atEnd) box.scrollTop = box.scrollHeight;
  }
}
