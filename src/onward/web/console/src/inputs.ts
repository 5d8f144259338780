// The forms of mutations, from introspection: which mutations make a job, the fields that they take, and their values as JSON.
import { parse } from '../../static/shared/exact.js';
import { local } from './format';
import type { ApiError } from './graphql';

export interface TypeRef { kind: string; name: string | null; ofType?: TypeRef | null }
export interface Argument { name: string; description: string | null; defaultValue: string | null; type: TypeRef }
export interface NamedType {
  kind: string;
  name: string;
  description: string | null;
  fields: readonly { name: string; description: string | null; args: readonly Argument[]; type: TypeRef }[] | null;
  inputFields: readonly Argument[] | null;
  enumValues: readonly { name: string; description: string | null }[] | null;
}
export interface Schema { mutationType: { name: string } | null; types: readonly NamedType[] }
export type Types = ReadonlyMap<string, NamedType>;

// The typed value: a text, yes or no, the items of a list, the fields of an object; undefined is left out.
export type Typed = string | boolean | readonly Typed[] | { readonly [name: string]: Typed } | undefined;
export type Path = readonly (string | number)[];

export interface Sender {
  name: string;
  description: string;
  args: readonly Argument[];
  fields: readonly Argument[]; // those of `input` if that is the only argument
  flat: boolean;
  answer: readonly string[]; // the fields of its payload
}

const LEVELS = 9; // of lists and non-nulls around a type: four lists inside each other, whose items are never null
const TYPE = Array.from({ length: LEVELS }).reduce<string>((inner) => `kind name ofType { ${inner} }`, 'kind name');
const ARGUMENT = `name description defaultValue type { ${TYPE} }`;
export const INTROSPECTION = `query forms { __schema { mutationType { name } types {
  kind name description
  fields { name description args { ${ARGUMENT} } type { ${TYPE} } }
  inputFields { ${ARGUMENT} }
  enumValues { name description }
} } }`;

export const MUTATIONS = `query mutations { __schema { mutationType { fields { name } } } }`;

// Introspection is refused in production, and where only trusted documents are answered.
export const isClosed = ({ code, message }: ApiError): boolean => code === 'DOCUMENT_NOT_TRUSTED' || /introspection/i.test(message);

// Commands on jobs that are there, and on schedules: they have places of their own.
const COMMANDS = new Set(['cancelJob', 'retryJob', 'signalJob', 'createSchedule', 'pauseSchedule', 'resumeSchedule', 'runSchedule', 'deleteSchedule']);
const KEY = 'idempotencyKey'; // the page's own

export const named = (type: TypeRef): string => (type.ofType ? named(type.ofType) : type.name ?? '');
export const isRequired = ({ type, defaultValue }: Argument): boolean => type.kind === 'NON_NULL' && defaultValue === null;
export const bare = (type: TypeRef): TypeRef => (type.kind === 'NON_NULL' ? type.ofType! : type);
export const keyOf = (path: Path): string => path.join('.');

export function typesOf({ types }: Schema): Types {
  return new Map(types.map((type) => [type.name, type]));
}

// The mutations whose payload has a job.
export function senders(schema: Schema): Sender[] {
  const types = typesOf(schema);
  const fields = types.get(schema.mutationType?.name ?? '')?.fields ?? [];
  return fields.flatMap(({ name, description, args, type }) => {
    const answer = types.get(named(type))?.fields ?? [];
    if (COMMANDS.has(name) || !answer.some((field) => field.name === 'job' && named(field.type) === 'Job')) return [];
    const inside = args.length === 1 ? types.get(named(args[0]!.type))?.inputFields : null;
    return [{ name, description: description ?? '', args, fields: inside ?? args, flat: Boolean(inside), answer: answer.map((field) => field.name) }];
  }).sort((one, other) => one.name.localeCompare(other.name));
}

export const shownFields = ({ fields }: Sender): Argument[] => fields.filter(({ name }) => name !== KEY);
export const isKeyed = ({ fields }: Sender): boolean => fields.some(({ name }) => name === KEY);

export function documentOf({ name, args, answer }: Sender): string {
  const given = args.map((one) => `$${one.name}: ${textOf(one.type)}`).join(', ');
  const passed = args.map((one) => `${one.name}: $${one.name}`).join(', ');
  const asked = ['job { id handler status }', answer.includes('replayed') && 'replayed', answer.includes('errors') && 'errors { code message path }'];
  return `mutation ${name}${given && `(${given})`} { ${name}${passed && `(${passed})`} { ${asked.filter(Boolean).join(' ')} } }`;
}

function textOf(type: TypeRef): string {
  if (type.kind === 'NON_NULL') return `${textOf(type.ofType!)}!`;
  return type.kind === 'LIST' ? `[${textOf(type.ofType!)}]` : type.name!;
}

// The variables of the mutation, and what cannot be read, by the key of its field.
export function variablesOf(sender: Sender, typed: { readonly [name: string]: Typed }, types: Types, key: string): { variables: object; problems: Map<string, string> } {
  const problems = new Map<string, string>();
  const values = objectOf(sender.fields, typed, types, [], problems);
  if (isKeyed(sender)) values[KEY] = key;
  return { variables: sender.flat ? { [sender.args[0]!.name]: values } : values, problems };
}

function objectOf(fields: readonly Argument[], typed: { readonly [name: string]: Typed }, types: Types, path: Path, problems: Map<string, string>): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const field of fields) {
    const at = [...path, field.name];
    const value = valueOf(field.type, typed[field.name], types, at, problems, isRequired(field));
    if (value !== undefined) found[field.name] = value;
  }
  return found;
}

function valueOf(given: TypeRef, typed: Typed, types: Types, path: Path, problems: Map<string, string>, required: boolean): unknown {
  const type = bare(given);
  if (type.kind === 'LIST') {
    if (typed === undefined && !required) return undefined;
    const items = Array.isArray(typed) ? typed as readonly Typed[] : [];
    const of = type.ofType!;
    return items.map((item, index) => (
      item === '' && isText(bare(of)) ? '' : valueOf(of, item, types, [...path, index], problems, of.kind === 'NON_NULL') ?? null));
  }
  if (type.kind === 'INPUT_OBJECT') {
    if (typed === undefined && !required) return undefined;
    return objectOf(types.get(type.name!)?.inputFields ?? [], (typed ?? {}) as { readonly [name: string]: Typed }, types, path, problems);
  }
  if (typeof typed === 'boolean') return typed;
  const text = typeof typed === 'string' ? typed : '';
  if (text === '') {
    if (!required) return undefined;
    if (isText(type)) return '';
    if (type.name === 'Boolean') return false;
    problems.set(keyOf(path), 'This is required.');
    return undefined;
  }
  return scalarOf(type, text, (words) => { problems.set(keyOf(path), words); });
}

// What a form holds where its input is given already: the other way round of `variablesOf`.
export function typedOf(fields: readonly Argument[], input: { readonly [name: string]: unknown }, types: Types): { readonly [name: string]: Typed } {
  return Object.fromEntries(fields.map((field) => [field.name, typedFrom(field, input[field.name], types)]));
}

function typedFrom(argument: Argument, value: unknown, types: Types): Typed {
  if (value === undefined || value === null) return undefined;
  const { kind, name, ofType } = bare(argument.type);
  if (kind === 'LIST') return (Array.isArray(value) ? value : []).map((one) => typedFrom({ ...argument, type: ofType!, defaultValue: null }, one, types));
  if (kind === 'INPUT_OBJECT') return typedOf(types.get(name!)?.inputFields ?? [], value as { readonly [name: string]: unknown }, types);
  if (typeof value === 'boolean' && isRequired(argument)) return value;
  return name === 'JSON' || typeof value === 'object' ? JSON.stringify(value) : String(value);
}

// A time as its control gives it; any other one is as the form was filled with it, to the microsecond.
const TYPED_TIME = /^\d+-\d\d-\d\dT\d\d:\d\d(:\d\d)?$/;
export const shownTime = (text: string): string => (TYPED_TIME.test(text) ? text : local(text));

const isText = ({ kind, name }: TypeRef): boolean => kind === 'SCALAR' && (name === 'String' || name === 'ID');

function scalarOf({ kind, name }: TypeRef, text: string, complain: (words: string) => void): unknown {
  if (kind === 'ENUM') return text;
  switch (name) {
    case 'Boolean': return text === 'true';
    case 'Int': case 'Float':
      if (!Number.isFinite(Number(text))) complain('This is not a number.');
      return Number(text);
    case 'DateTime': {
      const time = new Date(text); // of this person's time zone
      if (Number.isNaN(time.getTime())) complain('This is not a time.');
      return Number.isNaN(time.getTime()) || !TYPED_TIME.test(text) ? text : time.toISOString(); // one that nobody touched as it was given
    }
    case 'JSON':
      try {
        return parse(text);
      } catch {
        complain('This is not JSON. A text needs quotation marks.');
        return undefined;
      }
    default: return text; // texts, and scalars that are written as texts
  }
}

// Puts each error at the field that is named by the longest beginning of its path; those without one are left over.
export function placed(errors: readonly { message: string; path?: readonly string[] | null }[], fields: ReadonlySet<string>): { at: Map<string, string>; left: string[] } {
  const at = new Map<string, string>();
  const left: string[] = [];
  for (const { message, path } of errors) {
    const keys = (path ?? []).map((_, index, whole) => whole.slice(0, whole.length - index).join('.'));
    const key = keys.find((one) => fields.has(one));
    if (key === undefined) left.push(message);
    else at.set(key, at.has(key) ? `${at.get(key)} ${message}` : message);
  }
  return { at, left };
}
