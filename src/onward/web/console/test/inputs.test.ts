import assert from 'node:assert/strict';
import test from 'node:test';
import { documentOf, isKeyed, placed, senders, shownFields, shownTime, typedOf, typesOf, variablesOf, type Argument, type Schema, type TypeRef } from '../src/inputs';

const scalar = (name: string, kind = 'SCALAR'): TypeRef => ({ kind, name });
const required = (ofType: TypeRef): TypeRef => ({ kind: 'NON_NULL', name: null, ofType });
const list = (ofType: TypeRef): TypeRef => ({ kind: 'LIST', name: null, ofType });
const field = (name: string, type: TypeRef, defaultValue: string | null = null): Argument => ({ name, description: null, defaultValue, type });
const type = (name: string, kind: string, more: object) => ({ name, kind, description: null, fields: null, inputFields: null, enumValues: null, ...more });
const out = (name: string, of: TypeRef, args: Argument[] = []) => ({ name, description: null, args, type: of });

const schema: Schema = {
  mutationType: { name: 'Mutation' },
  types: [
    type('Mutation', 'OBJECT', { fields: [
      out('sendIt', scalar('Payload', 'OBJECT'), [field('input', required(scalar('SendItInput', 'INPUT_OBJECT')))]),
      out('bare', scalar('Payload', 'OBJECT'), [field('a', required(scalar('Int'))), field('b', list(required(scalar('String'))))]),
      out('nothing', scalar('Payload', 'OBJECT')),
      out('rename', scalar('Other', 'OBJECT')),
      out('cancelJob', scalar('Payload', 'OBJECT')),
    ] }),
    type('Payload', 'OBJECT', { fields: [out('job', scalar('Job', 'OBJECT')), out('errors', required(list(scalar('UserError', 'OBJECT'))))] }),
    type('Other', 'OBJECT', { fields: [out('user', scalar('User', 'OBJECT'))] }),
    type('SendItInput', 'INPUT_OBJECT', { inputFields: [
      field('to', required(scalar('String'))), field('note', scalar('String')), field('count', required(scalar('Int'))),
      field('size', required(scalar('Size', 'ENUM')), 'SMALL'), field('loud', required(scalar('Boolean'))), field('at', scalar('DateTime')),
      field('data', scalar('JSON')), field('items', list(required(scalar('ItemInput', 'INPUT_OBJECT')))), field('idempotencyKey', scalar('String')),
    ] }),
    type('ItemInput', 'INPUT_OBJECT', { inputFields: [field('name', required(scalar('String'))), field('weight', scalar('Float'))] }),
  ],
};
const types = typesOf(schema);
const [bare, nothing, sendIt] = senders(schema);

test('forms are of mutations whose payload has a job, and that are no commands', () => {
  assert.deepEqual(senders(schema).map(({ name }) => name), ['bare', 'nothing', 'sendIt']);
  assert.equal(shownFields(sendIt!).some(({ name }) => name === 'idempotencyKey'), false);
});

test('a form sends a key where its mutation takes one', () => {
  assert.deepEqual([bare, nothing, sendIt].map((one) => isKeyed(one!)), [false, false, true]);
});

test('a document asks for what the payload has', () => {
  assert.equal(documentOf(sendIt!), 'mutation sendIt($input: SendItInput!) { sendIt(input: $input) { job { id handler status } errors { code message path } } }');
  assert.equal(documentOf(bare!), 'mutation bare($a: Int!, $b: [String!]) { bare(a: $a, b: $b) { job { id handler status } errors { code message path } } }');
  assert.equal(documentOf(nothing!), 'mutation nothing { nothing { job { id handler status } errors { code message path } } }');
});

test('what was typed becomes the values of its types; what is empty and not required is left out', () => {
  const typed = { to: 'ada', note: '', count: '3', at: '2026-01-01T12:00:00', data: '{"a": [1]}', items: [{ name: 'pen', weight: '1.5' }, undefined] };
  const { variables, problems } = variablesOf(sendIt!, typed, types, 'key-1');
  assert.deepEqual(variables, { input: {
    to: 'ada', count: 3, loud: false, at: new Date(2026, 0, 1, 12).toISOString(), data: { a: [1] }, items: [{ name: 'pen', weight: 1.5 }, { name: '' }], idempotencyKey: 'key-1',
  } });
  assert.equal(problems.size, 0);
  assert.deepEqual(variablesOf(bare!, { a: '7' }, types, 'key').variables, { a: 7 });
});

test('a form that is filled with an input sends it as it was', () => {
  const input = {
    to: 'ada', count: 3, size: 'LARGE', loud: true, at: '2026-01-01T12:00:00.123456+02:00', data: { a: [1, null] }, items: [{ name: 'pen', weight: 1.5 }, { name: '' }],
  };
  const typed = typedOf(sendIt!.fields, { ...input, note: null, unknown: 1 }, types);
  assert.deepEqual(variablesOf(sendIt!, typed, types, 'key-1').variables, { input: { ...input, idempotencyKey: 'key-1' } });
  assert.equal(shownTime(input.at), shownTime('2026-01-01T10:00:00Z'));
  assert.equal(shownTime('2026-01-01T12:00'), '2026-01-01T12:00');
  assert.deepEqual(variablesOf(bare!, typedOf(bare!.fields, { a: 7, b: ['x'] }, types), types, '').variables, { a: 7, b: ['x'] });
});

test('items that are null stay null, and an empty list that was given stays empty', () => {
  const fields = [
    field('holes', required(list(scalar('Int')))), field('flags', list(scalar('Boolean'))), field('tags', list(required(scalar('String'))), '["a"]'),
    field('boxes', list(scalar('ItemInput', 'INPUT_OBJECT'))), field('names', list(scalar('String'))),
  ];
  const lists = { ...bare!, args: fields, fields };
  const input = { holes: [1, null], flags: [null, true, false], tags: [], boxes: [null, { name: 'pen' }], names: ['', null] };
  assert.deepEqual(variablesOf(lists, typedOf(fields, input, types), types, ''), { variables: input, problems: new Map() });
  assert.deepEqual(variablesOf(lists, {}, types, '').variables, { holes: [] });
});

test('what cannot be read is told at its field', () => {
  const { problems } = variablesOf(sendIt!, { to: '', data: '{', at: 'soon', items: [{ weight: 'heavy' }] }, types, 'key');
  assert.deepEqual([...problems.keys()], ['count', 'at', 'data', 'items.0.weight']);
});

test('an error is placed at the field that the longest beginning of its path names', () => {
  const errors = [
    { message: 'Wrong.', path: ['items', '0', 'name', 'first'] }, { message: 'Long.', path: ['items', '0', 'name'] },
    { message: 'Few.', path: ['items', '7'] }, { message: 'Full.', path: null }, { message: 'Lost.', path: ['other'] },
  ];
  const { at, left } = placed(errors, new Set(['items', 'items.0', 'items.0.name']));
  assert.deepEqual([...at], [['items.0.name', 'Wrong. Long.'], ['items', 'Few.']]);
  assert.deepEqual(left, ['Full.', 'Lost.']);
});
