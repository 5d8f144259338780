// A form made from the JSON Schema of a signal's payload: strings, numbers, booleans and choices; anything else as JSON.
import { fieldsOf, INVALID, invalidInputs, optionsOf, payloadOf, textOf } from '../shared/schema.js';
import { el, setAttribute, setText } from './dom.js';

// `send` takes the payload, and gives the errors of the answer: none once it is accepted.
export function schemaForm(schema, send) {
  const made = fieldsOf(schema);
  const fields = made.fields.map(input);
  const said = el('p', { class: 'said', role: 'status' });
  const button = el('button', { class: 'main' }, 'Send');
  const submit = async (event) => {
    event.preventDefault();
    for (const field of fields) field.complain('');
    const invalid = invalidInputs(event.target);
    if (invalid.length) {
      for (const field of fields) if (invalid.includes(field.name)) field.complain(INVALID);
      setText(said, '');
      return;
    }
    button.disabled = true;
    const data = new FormData(event.target);
    let errors;
    try {
      errors = await send(payloadOf(made, (name) => String(data.get(name) ?? '')));
    } catch (error) {
      errors = [{ message: error.message }];
    }
    const unplaced = errors.filter((error) => !place(fields, error));
    setText(said, unplaced.map((error) => error.message).join(' '));
    setAttribute(said, 'data-error', unplaced.length ? '' : null);
    button.disabled = false;
  };
  return el('form', { novalidate: true, onsubmit: submit },
    ...fields.map((field) => field.element), el('div', { class: 'actions' }, button), said);
}

// An error's path is ["payload", "approved", ...]; that of a payload without fields is ["payload"].
function place(fields, { path, message }) {
  const field = path?.[0] === 'payload' && (fields.find((one) => one.name === path[1]) ?? (fields.length === 1 ? fields[0] : null));
  return Boolean(field && field.complain(message));
}

function input(field) {
  const { name, required, schema } = field;
  const id = `signal-${name}`;
  const error = el('p', { class: 'error', id: `${id}-error`, hidden: true });
  const control = controlOf(field, { id, name });
  const label = el('label', { for: id }, schema.title ?? name, required ? '' : ' (optional)');
  const help = schema.description && el('p', { class: 'faint small' }, schema.description);
  return {
    name,
    element: el('div', { class: 'field' }, label, control, help, error),
    complain: (text) => {
      setText(error, text);
      error.hidden = !text;
      setAttribute(control, 'aria-invalid', text ? 'true' : null);
      setAttribute(control, 'aria-describedby', text ? error.id : null);
      return true;
    },
  };
}

function controlOf(field, names) {
  const { type, minimum, maximum, maxLength, default: given } = field.schema;
  const value = textOf(field);
  switch (field.kind) {
    case 'choice': return el('select', names, optionsOf(field).map((one) => el('option', { value: one.value, selected: one.selected }, one.words)));
    case 'checkbox': return el('input', { ...names, type: 'checkbox', checked: given === true });
    case 'number': return el('input', { ...names, type: 'number', step: type === 'integer' ? 1 : 'any', min: minimum, max: maximum, value });
    case 'json': return el('textarea', { ...names, rows: 3, spellcheck: 'false', placeholder: 'JSON', value });
    default: return el('input', { ...names, type: field.kind, maxlength: maxLength, value, autocomplete: 'off' });
  }
}
