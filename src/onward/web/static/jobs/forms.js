// Mutations as forms, those that the served schema has. The server says what is wrong; its words appear at the field that they name.
import { ask } from './api.js';
import { el, setAttribute, setText } from './dom.js';
import { PROCESS_ITEM, REGISTER_USER, SEND_NOTIFICATION } from './queries.js';

const LATER = { name: 'runAt', label: 'Not before (optional)', type: 'datetime-local' };
const FORMS = [
  {
    mutation: 'registerUser', query: REGISTER_USER, tab: 'Register', send: 'Register user',
    says: 'Creates the user and sends a welcome message.',
    fields: [
      { name: 'username', label: 'Username', type: 'text', placeholder: 'ada', clear: true },
      { name: 'email', label: 'E-mail', type: 'email', placeholder: 'ada@example.com', clear: true },
    ],
  },
  {
    mutation: 'sendNotification', query: SEND_NOTIFICATION, tab: 'Notify', send: 'Send notification',
    says: 'Writes a line to the notification log.',
    fields: [
      { name: 'email', label: 'E-mail', type: 'email', value: 'ada@example.com' },
      { name: 'message', label: 'Message', type: 'textarea', value: 'Your report is ready.' },
      LATER,
    ],
  },
  {
    mutation: 'processItem', query: PROCESS_ITEM, tab: 'Process', send: 'Process item',
    says: 'Validates, analyses and stores a text, step by step.',
    fields: [
      { name: 'item', label: 'Item', type: 'textarea', value: 'The quick brown fox jumps over the lazy dog.' },
      LATER,
    ],
  },
];

// `accepted` is called with each job that the server has taken. Returns whether there is a form.
export function forms(place, { accepted }) {
  const offered = FORMS.filter((form) => place.dataset.mutations.split(' ').includes(form.mutation));
  const panels = offered.map((form) => panel(form, accepted));
  const tabs = offered.map((form, index) => el('button', {
    type: 'button', role: 'tab', id: `tab-${form.mutation}`, 'aria-controls': `panel-${form.mutation}`,
    onclick: () => choose(index), onkeydown: (event) => arrow(event, index),
  }, form.tab));
  place.append(el('div', { class: 'tabs', role: 'tablist', 'aria-label': 'What to send' }, tabs), ...panels);
  choose(0);
  return offered.length > 0;

  function choose(chosen) {
    tabs.forEach((tab, index) => {
      setAttribute(tab, 'aria-selected', index === chosen);
      tab.tabIndex = index === chosen ? 0 : -1;
      panels[index].hidden = index !== chosen;
    });
  }

  function arrow(event, index) {
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + tabs.length) % tabs.length;
    choose(next);
    tabs[next].focus();
  }
}

function panel(form, accepted) {
  const fields = form.fields.map((field) => input(form.mutation, field));
  const said = el('p', { class: 'said', role: 'status' });
  const send = el('button', { class: 'main' }, form.send);
  let key = null; // one key for one wish: kept while it is not known whether the server has it
  const submit = async (event) => {
    event.preventDefault();
    send.disabled = true;
    for (const field of fields) field.complain('');
    setText(said, '');
    key ??= newKey();
    try {
      const values = Object.fromEntries(fields.map((field) => [field.name, field.read()]).filter(([, value]) => value !== null));
      const answer = (await ask(form.query, { input: { ...values, idempotencyKey: key } }))[form.mutation];
      tell(answer);
    } catch (error) {
      setText(said, error.reached === false ? `${error.message} Send again: it is accepted once at most.` : error.message);
      setAttribute(said, 'data-error', '');
      if (error.reached !== false) key = null;
    }
    send.disabled = false;
  };

  function tell(answer) {
    const errors = answer?.errors ?? [];
    const unplaced = errors.filter((error) => !fields.find((field) => field.name === error.path?.at(-1))?.complain(error.message));
    setText(said, unplaced.map((error) => error.message).join(' ') || (answer?.replayed ? 'Accepted before: the same job.' : ''));
    setAttribute(said, 'data-error', unplaced.length ? '' : null);
    if (errors.length) fields.find((field) => field.invalid())?.focus();
    if (!errors.some((error) => error.code === 'UNAVAILABLE')) key = null;
    if (!answer?.job) return;
    for (const field of fields) field.clear();
    accepted(answer.job);
  }

  return el('div', { role: 'tabpanel', id: `panel-${form.mutation}`, 'aria-labelledby': `tab-${form.mutation}` },
    el('form', { novalidate: true, onsubmit: submit, oninput: () => { key = null; } },
      el('p', { class: 'faint' }, form.says), ...fields.map((field) => field.element), el('div', { class: 'actions' }, send), said));
}

// One labelled field. The options of a "select" are a list, or what each value is called.
export function input(mutation, { name, label, type, value = '', placeholder, clear, options = [] }) {
  const id = `${mutation}-${name}`;
  const error = el('p', { class: 'error', id: `${id}-error`, hidden: true });
  const choices = Array.isArray(options) ? options.map((one) => [one, one]) : Object.entries(options);
  const control = type === 'textarea' ? el('textarea', { id, name, rows: 3, value })
    : type === 'select' ? el('select', { id, name }, choices.map(([one, text]) => el('option', { value: one }, text)))
    : el('input', { id, name, type, placeholder, value, autocomplete: 'off', step: type === 'datetime-local' ? 1 : null });
  return {
    name,
    element: el('div', { class: 'field' }, el('label', { for: id }, label), control, error),
    // What the mutation takes; null: leave it out.
    read: () => (type === 'datetime-local' ? (control.value ? new Date(control.value).toISOString() : null) : control.value),
    complain: (text) => {
      setText(error, text);
      error.hidden = !text;
      setAttribute(control, 'aria-invalid', text ? 'true' : null);
      setAttribute(control, 'aria-describedby', text ? error.id : null);
      return true;
    },
    invalid: () => control.getAttribute('aria-invalid') === 'true',
    clear: () => { if (clear || type === 'datetime-local') control.value = ''; },
    focus: () => control.focus(),
  };
}

// Not randomUUID: it is missing on plain http pages of other machines.
function newKey() {
  return `page-${Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
