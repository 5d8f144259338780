// The rates as bars, drawn once and then moved: for each minute what came in beside what came out.
import { el, setAttribute, setText, svg } from './dom.js';
import { clock, count, minute } from './format.js';

const HEIGHT = 132;
const BASE = 108;
const TOP = 16;
const SLOT = 15;

export class Chart {
  #rates;
  #drawing = svg('svg', { class: 'chart', role: 'img', height: HEIGHT, width: '100%' });
  #caption = el('p', { class: 'faint small' });
  #numbers = {};
  #bars = [];
  #width = 0;

  constructor(place, rates) {
    this.#rates = rates;
    const legend = el('ul', { class: 'legend' }, ['accepted', 'succeeded', 'failed'].map((kind) => {
      this.#numbers[kind] = el('b', {}, '0');
      return el('li', { class: `of-${kind}` }, this.#numbers[kind], ` ${kind}`);
    }));
    place.append(legend, this.#drawing, this.#caption);
    new ResizeObserver(([entry]) => this.#fit(Math.floor(entry.contentRect.width))).observe(this.#drawing);
  }

  draw() {
    if (!this.#width) return; // not laid out yet, as on a job's own view
    const minutes = this.#rates.last(this.#bars.length);
    const most = Math.max(1, ...minutes.map((m) => Math.max(m.accepted, m.succeeded + m.failed)));
    const tall = (number) => (number ? Math.max(2, (number / most) * (BASE - TOP)) : 0);
    const sums = { accepted: 0, succeeded: 0, failed: 0 };
    minutes.forEach((m, index) => {
      const bar = this.#bars[index];
      const [accepted, succeeded, failed] = [tall(m.accepted), tall(m.succeeded), tall(m.failed)];
      place(bar.accepted, BASE - accepted, accepted);
      place(bar.succeeded, BASE - succeeded, succeeded);
      place(bar.failed, BASE - succeeded - failed, failed);
      const labelled = m.start.getMinutes() % 5 === 0 && index > 0 && index < minutes.length - 1; // the ends would be cut off
      setText(bar.label, labelled ? minute(m.start) : '');
      for (const kind of Object.keys(sums)) sums[kind] += m[kind];
    });
    for (const kind of Object.keys(sums)) setText(this.#numbers[kind], count(sums[kind]));
    setText(this.most, `${count(most)}`);
    setAttribute(this.#drawing, 'aria-label', `Last ${minutes.length} minutes: ${count(sums.accepted)} accepted, `
      + `${count(sums.succeeded)} succeeded, ${count(sums.failed)} failed. At most ${count(most)} in a minute.`);
    setText(this.#caption, `Counted by this page since ${clock(this.#rates.since)}.`
      + (minutes.some((m) => m.estimated) ? ' Partly estimated from the counts, while live changes were missing.' : ''));
  }

  // As many minutes as the width has room for.
  #fit(width) {
    if (!width || width === this.#width) return;
    this.#width = width;
    const number = Math.max(8, Math.min(30, Math.floor(width / SLOT)));
    const slot = width / number;
    const thick = Math.max(3, Math.min(7, slot / 2 - 2));
    const bar = (kind, x) => svg('rect', { class: `of-${kind}`, x, y: BASE, width: thick, height: 0, rx: 1 });
    this.most = svg('text', { x: 0, y: TOP - 5 });
    this.#bars = Array.from({ length: number }, (_, index) => {
      const middle = (index + 0.5) * slot;
      return {
        accepted: bar('accepted', middle - thick - 0.5),
        succeeded: bar('succeeded', middle + 0.5),
        failed: bar('failed', middle + 0.5),
        label: svg('text', { x: middle, y: HEIGHT - 8, 'text-anchor': 'middle' }),
      };
    });
    this.#drawing.replaceChildren(
      svg('line', { x1: 0, x2: width, y1: TOP, y2: TOP, class: 'grid' }),
      svg('line', { x1: 0, x2: width, y1: BASE + 0.5, y2: BASE + 0.5 }),
      this.most,
      ...this.#bars.flatMap((parts) => Object.values(parts)),
    );
    this.draw();
  }
}

function place(rect, y, height) {
  setAttribute(rect, 'y', y);
  setAttribute(rect, 'height', height);
}
