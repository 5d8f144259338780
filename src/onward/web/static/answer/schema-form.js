// A form made from the JSON Schema of a signal's payload: strings, numbers, booleans and choices; anything else as JSON.
import { el, setAttribute, setText } from './dom.js';

// `send` takes the payload, and gives the errors of the answer: none once it is accepted.
export function schemaForm(schema, send) {
  const payload = fieldsOf(schema);
  const said = el('p', { class: 'said', role: 'status' });
  const button = el('button', { class: 'main' }, 'Send');
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    for (const field of payload.fields) field.complain('');
    let errors;
    try {
      errors = await send(payload.read());
    } catch (error) {
      errors = [{ message: error.message }];
    }
    const unplaced = errors.filter((error) => !place(payload.fields, error));
    setText(said, unplaced.map((error) => error.message).join(' '));
    setAttribute(said, 'data-error', unplaced.length ? '' : null);
    button.disabled = false;
  };
  return el('form', { novalidate: true, onsubmit: submit },
    ...payload.fields.map((field) => field.element), el('div', { class: 'actions' }, button), said);
}

// An error's path is ["payload", "approved", ...]; that of a payload without fields is ["payload"].
function place(fields, { path, message }) {
  const field = path?.[0] === 'payload' && (fields.find((one) => one.name === path[1]) ?? (fields.length === 1 ? fields[0] : null));
  return Boolean(field && field.complain(message));
}

// A field for each property of an object, and one field for any other type.
function fieldsOf(schema) {
  const { type, properties } = plain(schema, schema);
  if (type === 'null') return { fields: [], read: () => null };
  if (type !== 'object' || !properties) {
    const field = input('payload', schema, schema, true);
    return { fields: [field], read: () => field.read() ?? null };
  }
  const required = new Set(plain(schema, schema).required ?? []);
  const fields = Object.entries(properties).map(([name, one]) => input(name, one, schema, required.has(name)));
  return { fields, read: () => Object.fromEntries(fields.map((field) => [field.name, field.read()]).filter(([, value]) => value !== undefined)) };
}

// The schema without references and without the null of an optional value, whose `isNullable` says so then.
function plain(schema, root) {
  if (schema.$ref) {
    const { $ref, ...beside } = schema;
    const found = $ref.split('/').slice(1).reduce((at, key) => at?.[key], root);
    return plain({ ...found, ...beside }, root);
  }
  const choices = schema.anyOf ?? [];
  const rest = choices.filter((one) => one.type !== 'null');
  if (rest.length !== 1) return schema;
  const { anyOf, ...beside } = schema;
  return { ...plain(rest[0], root), ...beside, isNullable: rest.length < choices.length };
}

function input(name, given, root, required) {
  const schema = plain(given, root);
  const id = `signal-${name}`;
  const error = el('p', { class: 'error', id: `${id}-error`, hidden: true });
  const { control, read } = controls(schema)({ id, name }, schema);
  const label = el('label', { for: id }, schema.title ?? name, required ? '' : ' (optional)');
  const help = schema.description && el('p', { class: 'faint small' }, schema.description);
  return {
    name,
    element: el('div', { class: 'field' }, label, control, help, error),
    // Undefined: leave it out.
    read: () => {
      const value = read();
      if (value !== undefined || !required) return value;
      return schema.isNullable ? null : schema.type === 'string' && !schema.enum && !schema.format ? '' : undefined;
    },
    complain: (text) => {
      setText(error, text);
      error.hidden = !text;
      setAttribute(control, 'aria-invalid', text ? 'true' : null);
      setAttribute(control, 'aria-describedby', text ? error.id : null);
      return true;
    },
  };
}

function controls({ type, enum: choices, format }) {
  if (choices) return select;
  if (type === 'boolean') return checkbox;
  if (type === 'integer' || type === 'number') return number;
  return type === 'string' ? (format === 'date' ? text('date') : text('text')) : asJson;
}

function select(names, { enum: choices, default: chosen }) {
  const options = choices.map((choice, index) => el('option', { value: String(index), selected: choice === chosen }, String(choice)));
  const control = el('select', names, chosen === undefined ? el('option', { value: '' }, 'Choose…') : null, options);
  return { control, read: () => (control.value === '' ? undefined : choices[Number(control.value)]) };
}

function checkbox(names, { default: checked }) {
  const control = el('input', { ...names, type: 'checkbox', checked: checked === true });
  return { control, read: () => control.checked };
}

function number(names, { type, minimum, maximum, default: value }) {
  const control = el('input', { ...names, type: 'number', step: type === 'integer' ? 1 : 'any', min: minimum, max: maximum, value });
  return { control, read: () => (control.value === '' ? undefined : Number(control.value)) };
}

function text(type) {
  return (names, { maxLength, default: value }) => {
    const control = el('input', { ...names, type, maxlength: maxLength, value, autocomplete: 'off' });
    return { control, read: () => control.value || undefined };
  };
}

// Whatever has no control of its own is typed as JSON; what is no JSON is left to the server as text, which says so.
function asJson(names, { default: value }) {
  const control = el('textarea', { ...names, rows: 3, spellcheck: 'false', placeholder: 'JSON', value: value === undefined ? null : JSON.stringify(value) });
  return { control, read: () => (control.value.trim() ? parsed(control.value) : undefined) };
}

function parsed(words) {
  try {
    return JSON.parse(words);
  } catch {
    return words;
  }
}
