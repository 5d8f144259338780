// Where the page is, kept in the address after the #, so that Back works and a view can be bookmarked.
//   #/            #/?status=FAILED&status=CANCELLED&handler=email.*            #/jobs/job_...
import { STATUSES } from './status.js';

export function route() {
  const [path, query = ''] = location.hash.replace(/^#/, '').split('?', 2);
  const found = /^\/jobs\/([^/]+)$/.exec(path);
  if (found) return { view: 'job', id: decoded(found[1]) };
  const asked = new URLSearchParams(query);
  return {
    view: 'overview',
    filter: {
      status: STATUSES.filter((status) => asked.getAll('status').includes(status)),
      handler: (asked.get('handler') ?? '').trim(),
    },
  };
}

export const toJob = (id) => `#/jobs/${encodeURIComponent(id)}`;

export function toOverview({ status, handler }) {
  const asked = new URLSearchParams(status.map((name) => ['status', name]));
  if (handler) asked.set('handler', handler);
  return asked.size ? `#/?${asked}` : '#/';
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
