// Times, lengths and numbers as people read them, in their own language and time zone.

const numbers = new Intl.NumberFormat();
const short = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 1 });
const clocks = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const days = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const years = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'long' });
const minutes = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const dates = new Intl.DateTimeFormat(undefined, { weekday: 'short', day: 'numeric' });
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'always', style: 'short' });

export const count = (number: number): string => numbers.format(number);
export const compact = (number: number): string => short.format(number); // 12.3K
export const fully = (iso: string): string => whole.format(new Date(iso));
export const between = (from: string, to: string): number => Date.parse(to) - Date.parse(from);
export const plural = (number: number, one: string, many = `${one}s`): string => `${count(number)} ${number === 1 ? one : many}`;
export const json = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value, null, 2));

// Today by the clock, other days with their date, other years with their year.
export function moment(iso: string): string {
  const date = new Date(iso);
  const now = new Date();
  if (date.toDateString() === now.toDateString()) return clocks.format(date);
  return (date.getFullYear() === now.getFullYear() ? days : years).format(date);
}

// To the millisecond, for lines that follow each other.
export function exactly(iso: string): string {
  const date = new Date(iso);
  return `${clocks.format(date)}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

// Controls but line breaks and tabs, and marks that turn the order of the text around, as escapes.
export function visible(text: string): string {
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (found) => {
    const code = found.charCodeAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

const UNITS = [['day', 86_400], ['hour', 3_600], ['minute', 60], ['second', 1]] as const;

// "3 min. ago", "in 2 hr."; "just now" within a second.
export function ago(iso: string, now = Date.now()): string {
  const seconds = (Date.parse(iso) - now) / 1_000;
  const [unit, size] = UNITS.find(([, one]) => Math.abs(seconds) >= one) ?? ['second', 0];
  return size ? relative.format(Math.trunc(seconds / size), unit) : 'just now';
}

// A length of time: "850 ms", "2.4 s", "12 min 5 s", "3 d 4 h".
export function length(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3_600)} h`;
}

// Seconds as the history gives them; an empty text for none.
export const seconds = (value: number | null | undefined): string => (value === null || value === undefined ? '' : length(value * 1_000));

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, value < 1 ? 0 : Math.floor(Math.log10(value) / 3));
  const scaled = value / 1_000 ** power;
  return `${scaled < 10 && power ? scaled.toFixed(1) : Math.round(scaled)} ${units[power]}`;
}

// The words at the marks of an axis of time, in seconds since 1970: the clock, or the day where it begins and days are shown.
export function marks(times: readonly number[]): string[] {
  const apart = (times[1] ?? 0) - (times[0] ?? 0);
  return times.map((time) => {
    const date = new Date(time * 1_000);
    const begins = date.getHours() === 0 && date.getMinutes() === 0;
    return (apart >= 86_400 || (begins && apart >= 3_600) ? dates : minutes).format(date);
  });
}

// As a control of a time takes it: the time on this machine's clock, without a zone.
export function local(iso: string): string {
  if (!iso) return '';
  const date = new Date(iso);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
