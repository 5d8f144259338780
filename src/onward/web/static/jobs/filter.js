// The filter of the table: as the server takes it, and as a test on a job that has just changed.

export function asInput({ status, handler }) {
  const patterns = words(handler);
  if (!status.length && !patterns.length) return null;
  return { ...(status.length && { status }), ...(patterns.length && { handler: patterns }) };
}

export function matcher({ status, handler }) {
  const patterns = words(handler).map((pattern) => new RegExp(`^${pattern.split('*').map(escaped).join('.*')}$`));
  return (job) => (!status.length || status.includes(job.status)) && (!patterns.length || patterns.some((one) => one.test(job.handler)));
}

const words = (handler) => handler.split(/[\s,]+/).filter(Boolean);
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
