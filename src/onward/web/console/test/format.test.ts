import assert from 'node:assert/strict';
import test from 'node:test';
import { parse } from '../../static/shared/exact.js';
import { ago, bytes, exactly, json, length, marks, moment, plural, seconds, visible } from '../src/format';

test('a length has the unit that fits it', () => {
  assert.deepEqual([0, 850, 2_440, 9_960, 59_400, 725_000, 7_260_000, 277_200_000].map(length),
    ['0 ms', '850 ms', '2.4 s', '10 s', '59 s', '12 min 5 s', '2 h 1 min', '3 d 5 h']);
  assert.equal(seconds(null), '');
  assert.equal(seconds(0.25), '250 ms');
});

test('a control, or a mark that turns text around, is shown as its escape', () => {
  assert.equal(visible('a\tb\nc\x1b[31m\u202e\x7f ü'), 'a\tb\nc\\x1b[31m\\u202e\\x7f ü');
});

test('a line of a log has its time to the millisecond', () => {
  assert.match(exactly('2026-01-01T12:00:07.045123+00:00'), /:07\.045$/);
  assert.match(exactly('2026-01-01T12:00:07+00:00'), /:07\.000$/);
});

test('a time is told from now on', () => {
  const now = Date.parse('2026-01-01T12:00:00Z');
  assert.equal(ago('2026-01-01T12:00:00.400Z', now), 'just now');
  assert.equal(ago('2026-01-01T11:57:00Z', now), '3 min. ago');
  assert.equal(ago('2026-01-01T14:00:00Z', now), 'in 2 hr.');
});

test('bytes and numbers have units', () => {
  assert.deepEqual([0, 999, 1_500, 73_400_320].map(bytes), ['0 B', '999 B', '1.5 kB', '73 MB']);
  assert.deepEqual([plural(1, 'job'), plural(2, 'job')], ['1 job', '2 jobs']);
});

test('a date in another year shows the year', () => {
  const now = new Date();
  const dates = [now, new Date(now.getFullYear(), 0, now.getMonth() ? 2 : 1 + now.getDate() % 28), new Date(2019, 4, 1)].map((date) => moment(date.toISOString()));
  assert.match(dates[2]!, /2019/);
  assert.doesNotMatch(dates.slice(0, 2).join(), /20[2-9]\d/);
});

test('an axis shows the clock, and days where they begin', () => {
  const at = (hours: number) => new Date(2026, 0, 1, hours).getTime() / 1_000;
  assert.deepEqual(marks([at(9), at(9) + 600]), ['09:00', '09:10']);
  assert.deepEqual(marks([at(18), at(24)]).map((words) => /:/.test(words)), [true, false]);
});

// JavaScript's own parser rounds numbers beyond 2^53; a browser without JSON.rawJSON does, too.
test('whole numbers keep every digit', { skip: !('rawJSON' in JSON) }, () => {
  const shown = json(parse('{"big": 12345678901234567890, "small": 7, "part": 1.5}'));
  assert.match(shown, /12345678901234567890/);
});
