// The table with its pages. On the newest page jobs come in by themselves, while few come and nobody is in the rows;
// otherwise a button says how many wait above.
import { ask } from './api.js';
import { announce, el, setText } from './dom.js';
import { count, plural } from './format.js';
import { asInput, matcher } from './filter.js';
import { JOBS } from './queries.js';
import { Table } from './table.js';

const SIZE = 25;
const FEW = 12;
const MANY = 1_000;
const CALM_MS = 1_000;

export class List {
  #table = new Table();
  #filter = { status: [], handler: '' };
  #matches = () => true;
  #info = null;
  #since = 0;
  #newest = true;
  #fresh = new Set();
  #asked = 0;
  #refreshing = 0;
  #onResult;
  #turning = 0; // pages that a person waits for
  #more = el('button', { type: 'button', class: 'more', hidden: true, onclick: () => this.load({ first: SIZE }) });
  #empty = el('div', { class: 'empty', hidden: true });
  #newer = el('button', { type: 'button', class: 'quiet', onclick: () => this.#turn({ last: SIZE, before: this.#info.startCursor }) }, 'Newer');
  #pager = el('nav', { class: 'pager', 'aria-label': 'Pages of jobs' });
  #older = el('button', { type: 'button', class: 'quiet', onclick: () => this.#turn({ first: SIZE, after: this.#info.endCursor }) }, 'Older');
  #top = el('button', { type: 'button', class: 'quiet', onclick: () => this.#turn({ first: SIZE }) }, 'Newest');

  // `onResult` gets an error, or null when a page has arrived.
  constructor(place, onResult) {
    this.#onResult = onResult;
    place.append(this.#more, el('div', { class: 'frame' }, this.#table.element), this.#empty,
      this.#pager);
    this.#pager.append(this.#top, this.#newer, this.#older);
  }

  filter(filter) {
    this.#filter = filter;
    this.#matches = matcher(filter);
    return this.load({ first: SIZE });
  }

  async load(page) {
    const asked = ++this.#asked;
    try {
      const { jobs } = await ask(JOBS, { ...page, filter: asInput(this.#filter) });
      if (asked !== this.#asked) return false; // a later question has been asked meanwhile
      this.#newest = !page.after && (!page.before || !jobs.pageInfo.hasPreviousPage);
      this.#fresh.clear();
      this.#show(jobs);
      this.#onResult(null);
      return true;
    } catch (error) {
      if (asked === this.#asked) this.#onResult(error);
      return false;
    }
  }

  // Changes from the feed, folded.
  take(batch) {
    for (const job of batch.values()) {
      if (this.#table.has(job.id)) this.#table.change(job, this.#matches);
      else if (this.#newest && this.#fresh.size < MANY && this.#matches(job) && this.#above(job)) this.#fresh.add(job.id);
    }
    if (!this.#fresh.size) return;
    if (this.#table.size < SIZE || (this.#fresh.size <= FEW && !this.#table.held)) this.refresh();
    else this.#offer();
  }

  // The same page again, at most once a second.
  refresh() {
    this.#refreshing ||= setTimeout(() => {
      this.#refreshing = 0;
      if (!this.#newest || this.#turning) return; // a person has asked for another page
      if (this.#table.size === SIZE && (this.#fresh.size > FEW || this.#table.held)) this.#offer();
      else this.load({ first: SIZE });
    }, CALM_MS);
  }

  focus(id) { this.#table.focus(id); }

  async #turn(page) {
    this.#turning += 1;
    const shown = await this.load(page);
    this.#turning -= 1;
    if (shown) announce(`${plural(this.#table.size, 'job')} shown`);
  }

  #above(job) {
    return !this.#info?.startCursor || Date.parse(job.createdAt) >= this.#since;
  }

  #offer() {
    this.#more.hidden = false;
    const number = this.#fresh.size >= MANY ? `More than ${count(MANY)} newer jobs` : plural(this.#fresh.size, 'newer job');
    setText(this.#more, `${number} · show`);
  }

  #show({ nodes, pageInfo }) {
    this.#info = pageInfo;
    this.#since = nodes.length ? Date.parse(nodes[0].createdAt) : 0;
    this.#table.show(nodes, this.#matches);
    this.#table.element.hidden = !nodes.length;
    this.#more.hidden = true;
    this.#top.disabled = this.#newest;
    this.#newer.disabled = !pageInfo.hasPreviousPage;
    this.#older.disabled = !pageInfo.hasNextPage;
    this.#pager.hidden = this.#newest && !pageInfo.hasNextPage;
    this.#empty.hidden = nodes.length > 0;
    const filtered = asInput(this.#filter) !== null;
    this.#empty.replaceChildren(
      el('p', {}, filtered ? 'No job matches this filter.' : 'No jobs yet: send one.'),
      el('p', { class: 'faint' }, filtered ? 'Jobs that come to match appear here by themselves.' : 'Choose a form above; the job appears here and is followed until it is done.'),
    );
  }
}
