// Operations that every client runs.
export const PROCESS = `mutation process($input: ProcessItemInput!) {
  processItem(input: $input) { job { id status version } errors { message } }
}`;
export const WATCH = `subscription watch($id: ID!, $have: Int) {
  jobUpdated(id: $id, afterVersion: $have) { id version status done output { __typename ... on Figures { words } } }
}`;
export const ROLES = '{ viewer { id roles } }';

export const soon = (ms) => ({ input: { item: 'x', runAt: new Date(Date.now() + ms).toISOString() } });

export function check(condition, words) {
  if (!condition) throw new Error(words);
}

// Snapshots of a job: versions grow, and the last one is done.
export function checkWatched(jobs) {
  check(jobs.length > 0, 'nothing was watched');
  check(jobs.every((job, i) => i === 0 || job.version > jobs[i - 1].version), `versions: ${JSON.stringify(jobs)}`);
  check(jobs.at(-1).status === 'SUCCEEDED', `ended as ${JSON.stringify(jobs.at(-1))}`);
  check(jobs.at(-1).output?.__typename === 'Figures' && jobs.at(-1).output.words === 1, 'the last one has its output');
}

export async function post(url, query, variables, headers = {}) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  check(!errors, JSON.stringify(errors));
  return data;
}
