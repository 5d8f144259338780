// The fields of a form, read from the JSON Schema of a signal's payload: for the console, and for the page of a signal's address.
import { parse } from './exact.js';

/**
 * @typedef {{
 *   $ref?: string, type?: string, title?: string, description?: string, enum?: unknown[], const?: unknown, format?: string, pattern?: string,
 *   default?: unknown, anyOf?: JsonSchema[], properties?: Record<string, JsonSchema>, required?: string[],
 *   minimum?: number, maximum?: number, maxLength?: number, isNullable?: boolean, [key: string]: unknown,
 * }} JsonSchema `isNullable` is made by `plain`.
 * @typedef {'choice' | 'checkbox' | 'number' | 'date' | 'text' | 'json'} Kind
 * @typedef {{ name: string, kind: Kind, required: boolean, schema: JsonSchema }} Field
 * @typedef {{ fields: Field[], whole: boolean }} Form `whole`: the payload is the value of its one field, or null without one.
 */

// A field for each property of an object, and one field for any other type.
/** @type {(schema: JsonSchema) => Form} */
export function fieldsOf(schema) {
  const { type, properties, required = [] } = plain(schema, schema);
  if (type === 'null') return { fields: [], whole: true };
  if (type !== 'object' || !properties) return { fields: [fieldOf('payload', schema, schema, true)], whole: true };
  return { fields: Object.entries(properties).map(([name, one]) => fieldOf(name, one, schema, required.includes(name))), whole: false };
}

// The payload: of what the controls hold, a text each, or "on" for a checkbox that is set.
/** @type {(form: Form, value: (name: string) => string) => unknown} */
export function payloadOf({ fields, whole }, value) {
  if (whole) return fields[0] ? valueOf(fields[0], value(fields[0].name)) ?? null : null;
  return Object.fromEntries(fields.map((one) => [one.name, valueOf(one, value(one.name))]).filter(([, read]) => read !== undefined));
}

// The options of a choice: the places of its values, and '' for none of them.
/** @type {(field: Field) => { value: string, words: string, selected: boolean }[]} */
export function optionsOf({ required, schema }) {
  const chosen = JSON.stringify(schema.default);
  const options = schema.enum.map((one, index) => ({ value: String(index), words: wordOf(one), selected: JSON.stringify(one) === chosen }));
  const nothing = required && !schema.isNullable ? 'Choose…' : required || schema.default !== undefined ? 'none' : 'Leave out';
  return schema.isNullable || schema.default === undefined
    ? [{ value: '', words: nothing, selected: !options.some(({ selected }) => selected) }, ...options] : options;
}

// What a form says at an input of `invalidInputs`.
export const INVALID = 'This value is not complete or not valid. Correct or clear it.';

// The names of the inputs that hold no value though something was typed, such as a date without its year: scripts read them as empty.
/** @type {(form: HTMLFormElement) => string[]} */
export const invalidInputs = (form) => [...form.querySelectorAll('input')].filter(({ validity }) => validity.badInput).map(({ name }) => name);

// What a control of another kind holds at first.
/** @type {(field: Field) => string} */
export function textOf({ kind, schema: { default: value } }) {
  if (value === undefined || value === null) return '';
  return kind === 'json' ? JSON.stringify(value) : String(value);
}

const wordOf = (value) => (typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value));

// Undefined: left out.
function valueOf(field, text) {
  const { kind, required, schema } = field;
  if (kind === 'checkbox') return text === 'on';
  if (text.trim() || (text && kind === 'text')) return read(kind, schema, text);
  if (!required && !textOf(field) && kind !== 'choice') return undefined; // as it was: its default holds
  if (!required && schema.default === undefined) return undefined;
  if (schema.isNullable) return null;
  if (kind === 'text' && !schema.format && !schema.pattern) return '';
  return required ? undefined : null; // which the server refuses at its field, instead of taking the default that was cleared
}

function read(kind, schema, text) {
  if (kind === 'choice') return schema.enum[Number(text)];
  if (kind === 'number') return numberOf(text);
  if (kind !== 'json') return text;
  try {
    return parse(text);
  } catch {
    return text; // the server refuses it at its field
  }
}

// A browser that would round the digits sends them as a text, which the server reads as well.
function numberOf(text) {
  if (Number.isSafeInteger(Number(text)) || !/^-?[1-9]\d*$/.test(text)) return Number(text);
  const exact = parse(text);
  return typeof exact === 'number' ? text : exact;
}

function fieldOf(name, given, root, required) {
  const schema = plain(given, root);
  return { name, kind: kindOf(schema), required, schema };
}

function kindOf({ type, enum: choices, format }) {
  if (choices) return 'choice';
  if (type === 'boolean') return 'checkbox';
  if (type === 'integer' || type === 'number') return 'number';
  return type === 'string' ? (format === 'date' ? 'date' : 'text') : 'json';
}

// The schema without references, and without null: `isNullable` says that the value may be null, which makes a choice of yes and no.
function plain(schema, root) {
  if (schema.$ref) {
    const { $ref, ...beside } = schema;
    const found = $ref.split('/').slice(1).reduce((at, key) => at?.[key], root);
    return plain({ ...found, ...beside }, root);
  }
  if (schema.anyOf) return united(schema, root);
  if (schema.const !== undefined) return { ...schema, enum: [schema.const] };
  if (!schema.enum?.includes(null)) return schema;
  return { ...schema, enum: schema.enum.filter((one) => one !== null), isNullable: true };
}

function united({ anyOf, ...beside }, root) {
  const rest = anyOf.filter(({ type }) => type !== 'null');
  const isNullable = rest.length < anyOf.length;
  if (rest.length !== 1) return { ...beside, anyOf, isNullable };
  const one = { ...plain(rest[0], root), ...beside };
  return isNullable ? { ...one, isNullable, ...(one.type === 'boolean' && { enum: [true, false] }) } : one;
}
