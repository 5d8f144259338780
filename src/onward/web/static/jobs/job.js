// One job, whole: what it does now, its steps, its attempts, its result, and what can be done about it.
import { ask } from './api.js';
import { Attempts } from './attempts.js';
import { question } from './dialogs.js';
import { announce, byId, el, setAttribute, setText } from './dom.js';
import { showProgress } from './follow.js';
import { between, fully, json, length, moment } from './format.js';
import { Output } from './output.js';
import { CANCEL_JOB, RETRY_JOB } from './queries.js';
import { SignalForm } from './signal.js';
import { toJob } from './route.js';
import { mark, remark, word } from './status.js';
import { Steps } from './steps.js';

export class JobView {
  #feed;
  #socket;
  #back;
  #stop = () => {};
  #place = byId('job');

  // `back` gives the address of the list that one came from.
  constructor({ feed, socket, back }) {
    this.#feed = feed;
    this.#socket = socket;
    this.#back = back;
  }

  open(id) {
    this.close();
    const parts = this.#parts = frame(id, this.#back(), {
      cancel: () => this.#cancel(id),
      retry: () => this.#change(id, RETRY_JOB, 'retryJob', { id, fromStart: false }),
      restart: () => this.#change(id, RETRY_JOB, 'retryJob', { id, fromStart: true }),
      answered: () => this.#watch(id),
    }, this.#socket);
    this.#place.replaceChildren(...parts.all);
    parts.title.focus();
    this.#watch(id);
  }

  close() {
    this.#stop();
    this.#parts?.output.close();
    this.#place.replaceChildren();
  }

  #parts = null;

  #watch(id) {
    this.#stop();
    this.#parts.output.follow(id);
    let before = null;
    this.#stop = this.#feed.watch(id, (job) => {
      show(this.#parts, job);
      if (job && before && before !== job.status) announce(`${word(job.status)}`);
      before = job?.status ?? null;
    });
  }

  async #cancel(id) {
    const answer = await question({
      title: 'Cancel this job?', yes: 'Cancel the job', text: 'What has been done stays done. A job that runs ends at its next step.',
      fields: [el('div', { class: 'field' }, el('label', { for: 'reason' }, 'Reason (optional)'), el('input', { id: 'reason', name: 'reason', maxlength: 200, autocomplete: 'off' }))],
    });
    if (answer) await this.#change(id, CANCEL_JOB, 'cancelJob', { id, reason: String(answer.get('reason')).trim() || null });
  }

  async #change(id, query, field, input) {
    const { said } = this.#parts;
    setText(said, '');
    try {
      const answer = (await ask(query, { input }))[field];
      setText(said, (answer?.errors ?? []).map((error) => error.message).join(' '));
      if (answer?.job) show(this.#parts, answer.job);
    } catch (error) {
      setText(said, error.message);
    }
    this.#watch(id);
  }
}

function frame(id, back, { cancel, retry, restart, answered }, socket) {
  const parts = {
    title: el('h1', { tabindex: '-1' }, 'Job'),
    status: mark('QUEUED'),
    waiting: el('p', { class: 'callout', hidden: true }),
    bar: el('progress', { 'aria-label': 'Progress', hidden: true }),
    progress: el('p', { class: 'faint small' }),
    error: el('div', { class: 'callout', 'data-error': '', hidden: true }),
    said: el('p', { class: 'said', role: 'status', 'data-error': '' }),
    cancel: el('button', { type: 'button', onclick: cancel }, 'Cancel…'),
    retry: el('button', { type: 'button', class: 'main', onclick: retry }, 'Retry'),
    restart: el('button', { type: 'button', onclick: restart }, 'Retry from start'),
    facts: el('dl', { class: 'facts' }),
    signal: new SignalForm({ answered }),
    steps: new Steps(),
    attempts: new Attempts(),
    output: new Output(socket),
    result: el('pre', { tabindex: '0', 'aria-label': 'Result' }),
  };
  parts.status.hidden = true;
  parts.more = el('div', { class: 'halves', hidden: true },
    el('section', { class: 'card', 'aria-labelledby': 'steps-title' }, el('h2', { id: 'steps-title' }, 'Steps'), parts.steps.element),
    el('section', { class: 'card', 'aria-labelledby': 'facts-title' }, el('h2', { id: 'facts-title' }, 'Facts'), parts.facts));
  parts.tried = el('section', { class: 'card', 'aria-labelledby': 'attempts-title', hidden: true }, el('h2', { id: 'attempts-title' }, 'Attempts'), parts.attempts.element);
  parts.gave = el('section', { class: 'card', 'aria-labelledby': 'result-title', hidden: true }, el('h2', { id: 'result-title' }, 'Result'), parts.result);
  parts.actions = el('div', { class: 'actions' }, parts.retry, parts.restart, parts.cancel);
  parts.actions.hidden = true;
  parts.all = [
    el('p', {}, el('a', { href: back, class: 'back' }, '← All jobs')),
    el('header', { class: 'head' }, el('div', {}, parts.title, el('p', { class: 'mono faint' }, id)), parts.status),
    parts.waiting, parts.error, parts.bar, parts.progress, parts.actions, parts.said, parts.signal.element, parts.output.element, parts.more, parts.tried, parts.gave,
  ];
  return parts;
}

function show(parts, job) {
  if (!job) {
    setText(parts.title, 'No such job');
    setText(parts.waiting, 'No job has this id, or it is not yours to see. Old jobs are removed after a while.');
    parts.waiting.hidden = false;
    return;
  }
  setText(parts.title, job.handler);
  document.title = `${word(job.status)}: ${job.handler} - Onward`;
  remark(parts.status, job.status);
  parts.status.hidden = parts.more.hidden = false;
  setText(parts.waiting, job.waitingFor ? `Waiting for ${job.waitingFor}` : '');
  parts.waiting.hidden = !job.waitingFor;
  parts.error.hidden = !job.error;
  if (job.error) {
    parts.error.replaceChildren(
      el('p', {}, el('b', { class: 'mono' }, job.error.code), job.error.step ? ` in ${job.error.step}` : '', job.done || job.error.retryable ? '' : ', not retried'),
      el('p', {}, job.error.message));
  }
  showProgress(parts.bar, job);
  const { completed, total, message } = job.progress ?? {};
  setText(parts.progress, job.progress && !job.done ? [total ? `${completed} of ${total}` : completed, message].filter(Boolean).join(' · ') : '');
  parts.cancel.hidden = !job.canCancel;
  parts.retry.hidden = parts.restart.hidden = !job.canRetry;
  parts.actions.hidden = !job.canCancel && !job.canRetry;
  parts.signal.show(job);
  parts.steps.show(job);
  parts.facts.replaceChildren(...facts(job));
  parts.attempts.show(job);
  parts.tried.hidden = !job.attempts.length;
  const has = job.result !== null && job.result !== undefined;
  parts.gave.hidden = !has;
  if (has) setText(parts.result, json(job.result));
  setAttribute(parts.error, 'data-past', job.status === 'SUCCEEDED' ? '' : null);
}

// Such as "7 of 10 over: 6 succeeded, 1 failed, 2 queued, 1 running".
function batchLine({ total, counts }) {
  const some = counts.filter(({ count }) => count);
  const over = some.filter(({ status }) => ['SUCCEEDED', 'FAILED', 'CANCELLED'].includes(status)).reduce((sum, { count }) => sum + count, 0);
  return `${over} of ${total} over` + (some.length ? `: ${some.map(({ status, count }) => `${count} ${word(status).toLowerCase()}`).join(', ')}` : '');
}

function facts(job) {
  const time = (iso) => el('time', { datetime: iso, title: fully(iso) }, moment(iso));
  const known = [
    ['Accepted', time(job.createdAt)],
    ['Not before', job.runAt && time(job.runAt)],
    ['Expires', !job.startedAt && job.expiresAt && time(job.expiresAt)],
    ['Started', job.startedAt && time(job.startedAt)],
    ['Finished', job.finishedAt && time(job.finishedAt)],
    ['Waited', job.startedAt && length(between(job.createdAt, job.startedAt))],
    ['Took', job.startedAt && job.finishedAt && length(between(job.startedAt, job.finishedAt))],
    ['Backend', job.backend],
    ['Queue', job.queue !== 'default' && job.queue],
    ['Dispatched by', job.parent && el('a', { href: toJob(job.parent.id) }, job.parent.handler)],
    ['Batch', job.batch && batchLine(job.batch)],
    ['Attempts', `${job.attempts.filter((attempt) => attempt.charged).length} of at most ${job.maxAttempts}`],
    ['Version', String(job.version)],
  ];
  return known.filter(([, value]) => value).flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]);
}
