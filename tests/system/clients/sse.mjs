// The official client of GraphQL over server-sent events, in its distinct connections mode.
import { createClient } from 'graphql-sse';
import { check, checkWatched, PROCESS, ROLES, soon, WATCH } from './operations.mjs';

const url = process.argv[2];
let lost = 0;
const client = createClient({
  url,
  retryAttempts: 5,
  retry: async () => {},
  fetchFn: async (...given) => {
    const response = await fetch(...given);
    if (lost !== 1) return response;
    lost = 2; // this one connection is cut in the middle
    const reader = response.body.getReader();
    let events = 0;
    return new Response(new ReadableStream({
      async pull(controller) {
        const { value, done } = await reader.read();
        if (done || events > 0) {
          await reader.cancel();
          controller.error(new TypeError('connection lost'));
          return;
        }
        events += Buffer.from(value).includes('event: next') ? 1 : 0;
        controller.enqueue(value);
      },
    }), { status: response.status, headers: response.headers });
  },
});

async function first(payload) {
  for await (const result of client.iterate(payload)) return result;
}

check((await first({ query: ROLES })).data.viewer.roles[0] === 'admin', 'a query is answered');
const made = (await first({ query: PROCESS, variables: soon(1000) })).data.processItem.job;
const seen = [];
lost = 1;
for await (const { data } of client.iterate({ query: WATCH, variables: { id: made.id } })) {
  if (seen.at(-1)?.version !== data.jobUpdated.version) seen.push(data.jobUpdated);
}
check(lost === 2, 'a connection was lost');
checkWatched(seen);
const resumed = [];
for await (const { data } of client.iterate({ query: WATCH, variables: { id: made.id, have: seen.at(-1).version } })) {
  resumed.push(data.jobUpdated.version);
}
check(resumed.length === 1, 'a job that is over gives its last state');
client.dispose();
console.log(JSON.stringify({ states: seen.map((state) => state.status) }));
