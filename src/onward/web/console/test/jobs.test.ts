import assert from 'node:assert/strict';
import test from 'node:test';
import { asInput, crossed, matcher, NONE, params, readFilter, readPlace, toJobs, unreadable } from '../src/pages/jobs/filter';
import { length } from '../src/format';
import { written } from '../src/pages/job/chunks';
import { attempts, took } from '../src/pages/job/sums';
import { fieldsOf, payloadOf } from '../src/pages/job/schema';
import type { Row } from '../src/generated/jobs';

const job = (more: Partial<Row> = {}): Row => ({
  id: 'job_1', handler: 'email.welcome', status: 'FAILED', version: 1, done: true, backend: 'background', createdAt: '2026-01-01T12:00:00Z',
  runAt: null, startedAt: null, finishedAt: null, progress: null, error: { code: 'BUSY', message: 'no answer' }, ...more,
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
