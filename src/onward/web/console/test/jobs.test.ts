import assert from 'node:assert/strict';
import test from 'node:test';
import { asInput, crossed, matcher, NONE, params, readFilter, readPlace, toJobs, unreadable } from '../src/pages/jobs/filter';
import { length } from '../src/format';
import { written } from '../src/pages/job/chunks';
import { attempts, took } from '../src/pages/job/sums';
import { parse } from '../../static/shared/exact.js';
import { note } from '../src/pages/jobs/note';
import { fieldsOf, optionsOf, payloadOf, textOf, type JsonSchema } from '../../static/shared/schema.js';
import type { Row } from '../src/generated/jobs';

const job = (more: Partial<Row> = {}): Row => ({
  id: 'job_1', handler: 'email.welcome', status: 'FAILED', version: 1, done: true, backend: 'background', createdAt: '2026-01-01T12:00:00Z',
  runAt: null, startedAt: null, finishedAt: null, progress: null, error: { code: 'BUSY', message: 'no answer' }, reason: null, ...more,
});

test('an address is read as a filter, and what no filter is is left out', () => {
  const filter = readFilter(new URLSearchParams('status=FAILED&status=NOTHING&handler= email.* &after=2026-01-01T12:00:00Z&before=soon'));
  assert.deepEqual(filter, { ...NONE, status: ['FAILED'], handler: 'email.*', after: '2026-01-01T12:00:00.000Z' });
  assert.deepEqual(asInput(filter), { status: ['FAILED'], handler: ['email.*'], createdAfter: '2026-01-01T12:00:00.000Z' });
  assert.equal(asInput(NONE), null);
});

test('the value of a parameter is of each kind that its text may mean', () => {
  const sent = (text: string) => JSON.stringify(params(text));
  assert.equal(sent(''), '[]');
  assert.equal(sent(' order=A-17  address.city="New \\"York\\"" '), '[{"name":"order","values":["A-17"]},{"name":"address.city","values":["New \\"York\\""]}]');
  assert.equal(sent('n=5 m=-0.5 o=true p=null q="5"'), '[{"name":"n","values":[5,"5"]},{"name":"m","values":[-0.5,"-0.5"]},{"name":"o","values":[true,"true"]},{"name":"p","values":[null,"null"]},{"name":"q","values":["5"]}]');
  assert.equal(sent('n=05 m=1e999 o=a=b'), '[{"name":"n","values":["05"]},{"name":"m","values":["1e999"]},{"name":"o","values":["a=b"]}]');
  assert.equal(sent('n=99999999999999999999'), '[{"name":"n","values":["99999999999999999999"]}]');
  for (const wrong of ['order', 'order=', '=A-17', 'order="A-17', 'order="\\x"', 'order=A 17']) {
    assert.equal(params(wrong), null, wrong);
    assert.match(crossed({ ...NONE, param: wrong }), /^A parameter has a name and a value/);
  }
  const search = new URLSearchParams(toJobs({ param: 'order=A-17' }).split('?')[1]);
  assert.deepEqual([unreadable(search), asInput(readFilter(search))], [[], { params: [{ name: 'order', values: ['A-17'] }] }]);
});

test('what an address holds besides a filter is named', () => {
  const wrong = (address: string) => unreadable(new URLSearchParams(address));
  assert.deepEqual(wrong('status=FAILED&status=QUEUED&handler=email.*&code=X&owner=ada&after=2026-01-01T12:00:00Z&batch=b'), []);
  assert.deepEqual(wrong('status=FAILD&status=FAILED,QUEUED&before=2026-13-45&handlr=x'), ['status=FAILD', 'status=FAILED,QUEUED', 'before=2026-13-45', 'handlr=x']);
});

test('a job that has changed is tried by the filter', () => {
  const matches = (filter: Partial<typeof NONE>, more: Partial<Row> = {}) => matcher({ ...NONE, ...filter })(job(more));
  assert.ok(matches({}));
  assert.ok(matches({ handler: 'steps.* email.*', status: ['FAILED'], code: 'BUSY' }));
  assert.ok(!matches({ handler: 'email' }));
  assert.ok(!matches({ status: ['QUEUED'] }));
  assert.ok(!matches({ code: 'BUSY' }, { error: null }));
  assert.ok(!matches({ after: '2026-01-01T12:00:01Z' }));
  assert.ok(!matches({ before: '2026-01-01T11:59:59Z' }));
  assert.ok(matches({ message: 'no answer' }));
  assert.ok(matches({ message: 'no answer' }, { error: { code: 'BUSY', message: ' no\n answer' } }));
  assert.ok(!matches({ message: 'no' }));
  assert.ok(matches({ message: 'x'.repeat(200) }, { error: { code: 'BUSY', message: 'x'.repeat(300) } }));
  assert.ok(matches({ runAfter: '2026-12-01T00:00:00Z' }, { status: 'SCHEDULED', runAt: '2026-12-24T00:00:00Z' }));
  assert.ok(!matches({ runAfter: '2026-12-01T00:00:00Z' }, { status: 'CANCELLED', runAt: '2026-12-24T00:00:00Z' }));
  assert.ok(!matches({ runBefore: '2026-12-01T00:00:00Z' }, { status: 'SCHEDULED', runAt: '2026-12-24T00:00:00Z' }));
  assert.ok(!matches({ finishedAfter: '2026-01-01T12:00:00Z' }));
  assert.ok(matches({ finishedAfter: '2026-01-01T12:00:00Z' }, { finishedAt: '2026-01-01T12:00:01Z' }));
});

test('the page of a list is in its address, apart from the filter', () => {
  const search = new URLSearchParams(toJobs({ handler: 'a.b' }, { older: 'c2' }).split('?')[1]);
  assert.deepEqual([readPlace(search), unreadable(search), readFilter(search).handler], [{ older: 'c2' }, [], 'a.b']);
  assert.deepEqual(readPlace(new URLSearchParams('handler=a.b')), {});
});

test('a time that ends before it begins is named', () => {
  assert.equal(crossed({ ...NONE, after: '2026-01-01T12:00:00Z', before: '2026-01-01T13:00:00Z' }), '');
  assert.match(crossed({ ...NONE, runAfter: '2026-01-02T12:00:00Z', runBefore: '2026-01-01T12:00:00Z' }), /^No job is to start after .+ and before /);
});

test('the note of a cancelled job is why it was cancelled', () => {
  const expired = { code: 'EXPIRED', message: 'the job had not begun by the time at which it expires' };
  assert.equal(note(job({ status: 'CANCELLED', done: true, reason: 'sold out' })), 'sold out');
  assert.equal(note(job({ status: 'CANCELLED', done: true, error: expired })), expired.message);
  assert.equal(note(job({ status: 'CANCELLED', done: true })), '');
});

test('what a job took is its attempts without the time between them', () => {
  const attempt = (number: number, startedAt: string, finishedAt: string | null, charged = true) => ({
    number, charged, backend: 'background', worker: 'w', startedAt, finishedAt, error: null,
  });
  const first = attempt(1, '2026-01-01T12:00:00Z', '2026-01-01T12:00:02Z');
  const byHand = attempt(2, '2026-01-01T18:00:00Z', '2026-01-01T18:00:03Z');
  assert.equal(took({ attempts: [first] }), length(2_000));
  assert.equal(took({ attempts: [first, byHand] }), `${length(5_000)} in 2 attempts`);
  assert.equal(attempts({ attempts: [first], chargedAttempts: 1, maxAttempts: 5 }), '1 of at most 5');
  assert.equal(attempts({ attempts: [first, byHand], chargedAttempts: 1, maxAttempts: 5 }), '1 of at most 5 since it was retried by hand, 2 in all');
  const running = attempt(1, '2026-01-01T12:00:00Z', null);
  assert.equal(attempts({ attempts: [running], chargedAttempts: 0, maxAttempts: 5 }), '1 of at most 5');
  assert.equal(attempts({ attempts: [first, { ...running, number: 2 }], chargedAttempts: 0, maxAttempts: 5 }), '1 of at most 5 since it was retried by hand, 2 in all');
});

test('output follows its chunks, and says what is missing and what runs again', () => {
  const last = { variables: { id: 'job_1', after: null }, attempts: {}, line: true };
  const take = (offset: number, attempt: number, data: unknown) => written(last, { offset, attempt, step: 'write', data });
  assert.equal(take(0, 1, 'one'), 'one');
  assert.equal(take(0, 1, 'one'), '');
  assert.equal(take(1, 1, { n: 2 }), '\n{"n":2}\n');
  assert.equal(take(4, 2, 'anew'), '[2 older chunks are no longer kept]\n[write again, in attempt 2]\nanew');
});

test('a payload is made of what the fields hold', () => {
  const made = fieldsOf({
    type: 'object', required: ['yes', 'size', 'word', 'maybe'], $defs: { Size: { enum: ['S', 'M'], type: 'string' } },
    properties: {
      yes: { type: 'boolean' }, size: { $ref: '#/$defs/Size' }, word: { type: 'string' }, n: { type: 'integer' },
      maybe: { anyOf: [{ type: 'number' }, { type: 'null' }] }, list: { type: 'array' },
    },
  });
  assert.deepEqual(made.fields.map(({ kind }) => kind), ['checkbox', 'choice', 'text', 'number', 'number', 'json']);
  const of = (values: Record<string, string>) => payloadOf(made, (name) => values[name] ?? '');
  assert.deepEqual(of({ yes: 'on', size: '1', word: 'a', n: '3', maybe: '0.5', list: '[1]' }), { yes: true, size: 'M', word: 'a', n: 3, maybe: 0.5, list: [1] });
  assert.deepEqual(of({ list: 'no JSON' }), { yes: false, word: '', maybe: null, list: 'no JSON' });
  assert.deepEqual(payloadOf(fieldsOf({ type: 'string' }), () => 'text'), 'text');
  assert.equal(payloadOf(fieldsOf({ type: 'null' }), () => ''), null);
});

// What a person sends who has opened the form, typed these texts, and chosen these words.
function sent(schema: JsonSchema, typed: Record<string, string> = {}): string {
  const made = fieldsOf(schema);
  const held = Object.fromEntries(made.fields.map((field) => {
    const options = field.kind === 'choice' ? optionsOf(field) : [];
    const of = (found: (one: typeof options[number]) => boolean) => options.find(found)!.value;
    const given = typed[field.name];
    if (!options.length) return [field.name, given ?? textOf(field)];
    return [field.name, given === undefined ? of(({ selected }) => selected) : of(({ words }) => words === given)];
  }));
  return JSON.stringify(payloadOf(made, (name) => held[name]!));
}

const one = (schema: JsonSchema, required = false): JsonSchema => ({ type: 'object', properties: { it: schema }, required: required ? ['it'] : [] });
const orNull = (...of: JsonSchema[]): JsonSchema => ({ anyOf: [...of, { type: 'null' }] });

test('a value that may be null has three choices where it is yes or no, and none among the others', () => {
  const ok = one({ ...orNull({ type: 'boolean' }), default: null });
  assert.deepEqual(optionsOf(fieldsOf(ok).fields[0]!).map(({ words }) => words), ['none', 'yes', 'no']);
  assert.deepEqual([sent(ok), sent(ok, { it: 'yes' }), sent(ok, { it: 'no' })], ['{"it":null}', '{"it":true}', '{"it":false}']);
  assert.equal(sent(one({ ...orNull({ type: 'boolean' }), default: true }), { it: 'none' }), '{"it":null}');
  assert.equal(sent(one(orNull({ type: 'boolean' }), true)), '{"it":null}');
  for (const size of [orNull({ enum: ['S', 'M'], type: 'string' }), { enum: ['S', null, 'M'] }]) {
    assert.deepEqual([sent(one({ ...size, default: null })), sent(one({ ...size, default: null }), { it: 'M' })], ['{"it":null}', '{"it":"M"}']);
    assert.deepEqual([sent(one({ ...size, default: 'M' })), sent(one({ ...size, default: 'M' }), { it: 'none' })], ['{"it":"M"}', '{"it":null}']);
  }
  assert.equal(sent(one({ enum: ['S', 'M'] })), '{}');
  assert.equal(sent(one({ const: 'only' }, true), { it: 'only' }), '{"it":"only"}');
});

test('whole numbers keep every digit', () => {
  const whole = one({ type: 'integer' }, true);
  const exact = 'rawJSON' in JSON; // else it is a text that says the digits
  assert.deepEqual(['9007199254740993', '-9007199254740993', '007', '-0'].map((text) => sent(whole, { it: text })),
    exact ? ['{"it":9007199254740993}', '{"it":-9007199254740993}', '{"it":7}', '{"it":0}']
      : ['{"it":"9007199254740993"}', '{"it":"-9007199254740993"}', '{"it":7}', '{"it":0}']);
  assert.deepEqual(['.5', '1e3'].map((text) => sent(one({ type: 'number' }, true), { it: text })), ['{"it":0.5}', '{"it":1000}']);
  if (!exact) return; // it cannot read them either
  const large = parse('{"default": 9007199254740993, "type": "integer"}') as JsonSchema;
  assert.equal(sent(one(large)), '{"it":9007199254740993}');
  assert.equal(sent(one(parse('{"enum": [9007199254740993], "default": 9007199254740993}') as JsonSchema)), '{"it":9007199254740993}');
});

test('a default that was cleared is not sent for', () => {
  const words = { type: 'string', default: 'hi' };
  assert.deepEqual([sent(one(words)), sent(one(words), { it: '' }), sent(one({ ...words, default: '' }))], ['{"it":"hi"}', '{"it":""}', '{}']);
  assert.equal(sent(one({ ...orNull({ type: 'string' }), default: 'hi' }), { it: '' }), '{"it":null}');
  assert.equal(sent(one({ ...orNull({ type: 'integer' }), default: 5 }), { it: '' }), '{"it":null}');
  // The server refuses these at their fields: they hold neither the default nor anything else.
  for (const cleared of [{ type: 'integer', default: 5 }, { type: 'string', format: 'date', default: '2026-01-01' }, { type: 'array', default: [1] }]) {
    assert.equal(sent(one(cleared), { it: '' }), '{"it":null}');
  }
  assert.equal(sent(one({ ...orNull({ type: 'array' }), default: null })), '{}');
  const decimal = { anyOf: [{ type: 'number' }, { type: 'string' }] }; // as JSON: a number, or a text that keeps every digit
  assert.deepEqual([sent(one(decimal), { it: '1.5' }), sent(one(decimal), { it: '"1.50"' })], ['{"it":1.5}', '{"it":"1.50"}']);
});
