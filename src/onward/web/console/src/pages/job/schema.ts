// The fields of a form, read from the JSON Schema of a signal's payload.
import { parse } from '../../exact';

export interface JsonSchema {
  $ref?: string;
  type?: string;
  title?: string;
  description?: string;
  enum?: unknown[];
  format?: string;
  default?: unknown;
  anyOf?: JsonSchema[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  minimum?: number;
  maximum?: number;
  maxLength?: number;
  isNullable?: boolean; // made by `plain`
  [key: string]: unknown;
}

export type Kind = 'choice' | 'checkbox' | 'number' | 'date' | 'text' | 'json';
export interface Field { name: string; kind: Kind; required: boolean; schema: JsonSchema }

// A field for each property of an object, and one field for any other type; `whole`: the payload is that field's value.
export function fieldsOf(schema: JsonSchema): { fields: Field[]; whole: boolean } {
  const { type, properties, required = [] } = plain(schema, schema);
  if (type === 'null') return { fields: [], whole: true };
  if (type !== 'object' || !properties) return { fields: [field('payload', schema, schema, true)], whole: true };
  return { fields: Object.entries(properties).map(([name, one]) => field(name, one, schema, required.includes(name))), whole: false };
}

// The payload: of what the controls hold, a text each, or "on" for a checkbox that is set.
export function payloadOf({ fields, whole }: { fields: readonly Field[]; whole: boolean }, value: (name: string) => string): unknown {
  if (whole) return fields[0] ? valueOf(fields[0], value(fields[0].name)) ?? null : null;
  return Object.fromEntries(fields.map((one) => [one.name, valueOf(one, value(one.name))]).filter(([, read]) => read !== undefined));
}

// Undefined: left out.
function valueOf({ kind, required, schema }: Field, text: string): unknown {
  if (kind === 'checkbox') return text === 'on';
  if (kind === 'choice' && text !== '') return schema.enum![Number(text)];
  if (kind === 'number' && text !== '') return Number(text);
  if (kind === 'json' && text.trim()) return parsed(text);
  if (kind !== 'choice' && kind !== 'number' && kind !== 'json' && text) return text;
  if (!required) return undefined;
  return schema.isNullable ? null : kind === 'text' && !schema.format ? '' : undefined;
}

// A text that is not JSON is sent as it is, and the server refuses it at its field.
function parsed(text: string): unknown {
  try {
    return parse(text);
  } catch {
    return text;
  }
}

function field(name: string, given: JsonSchema, root: JsonSchema, required: boolean): Field {
  const schema = plain(given, root);
  return { name, kind: kindOf(schema), required, schema };
}

function kindOf({ type, enum: choices, format }: JsonSchema): Kind {
  if (choices) return 'choice';
  if (type === 'boolean') return 'checkbox';
  if (type === 'integer' || type === 'number') return 'number';
  return type === 'string' ? (format === 'date' ? 'date' : 'text') : 'json';
}

// The schema without references and without the null of an optional value, whose `isNullable` says so then.
function plain(schema: JsonSchema, root: JsonSchema): JsonSchema {
  if (schema.$ref) {
    const { $ref, ...beside } = schema;
    const found = $ref.split('/').slice(1).reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], root);
    return plain({ ...found as JsonSchema, ...beside }, root);
  }
  const choices = schema.anyOf ?? [];
  const rest = choices.filter(({ type }) => type !== 'null');
  if (rest.length !== 1) return schema;
  const { anyOf: _choices, ...beside } = schema;
  return { ...plain(rest[0]!, root), ...beside, isNullable: rest.length < choices.length };
}
