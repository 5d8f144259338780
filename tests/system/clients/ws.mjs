// The official client of graphql-transport-ws: it watches, comes back after a lost connection, resumes, renews its token.
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { check, checkWatched, post, PROCESS, ROLES, soon, WATCH } from './operations.mjs';

const [, , url, secured, tokens] = process.argv;
const socketUrl = (address) => address.replace('http', 'ws');
const options = { webSocketImpl: WebSocket, retryWait: async () => {}, retryAttempts: 50 };
const client = createClient({ ...options, url: socketUrl(url), keepAlive: 200 });
let pongs = 0;
client.on('pong', (received) => { pongs += received ? 1 : 0; });

async function first(payload, using = client) {
  for await (const result of using.iterate(payload)) return result;
}

check((await first({ query: ROLES })).data.viewer.roles[0] === 'admin', 'a query is answered');

const made = (await first({ query: PROCESS, variables: soon(1500) })).data.processItem.job;
const seen = [];
let cut = false;
for await (const { data, errors } of client.iterate({ query: WATCH, variables: { id: made.id } })) {
  check(!errors, JSON.stringify(errors));
  if (cut && seen.at(-1)?.version === data.jobUpdated.version) continue; // the state as it is, once more
  seen.push(data.jobUpdated);
  if (!cut) {
    cut = true;
    client.terminate(); // as a lost connection looks: 4499, which the client comes back from
  }
}
checkWatched(seen);
check(seen[0].status === 'SCHEDULED', 'watched from the start');

// Resumed: known states do not come again, except for the last one.
const last = seen.at(-1).version;
const resumed = [];
for await (const { data } of client.iterate({ query: WATCH, variables: { id: made.id, have: last } })) resumed.push(data.jobUpdated);
check(resumed.length === 1 && resumed[0].version === last, 'a job that is over gives its last state');
const waiting = (await first({ query: PROCESS, variables: soon(700) })).data.processItem.job;
for await (const { data } of client.iterate({ query: WATCH, variables: { id: waiting.id, have: 1 } })) {
  check(data.jobUpdated.version > 1, 'what is known comes again');
}

const ending = client.iterate({ query: 'subscription { jobsUpdated { id } }' });
const next = ending.next();
setTimeout(() => ending.return(), 300);
check((await next).done, 'a subscription is completed by its client');
check(pongs > 0, 'pings are answered');
await client.dispose();

// With tokens that last a second and a half each, for longer than one of them.
const renewing = JSON.parse(tokens);
let connections = 0;
const other = createClient({
  ...options,
  url: socketUrl(secured),
  connectionParams: () => ({ Authorization: `Bearer ${renewing[Math.min(connections++, renewing.length - 1)]}` }),
});
const job = (await post(secured, PROCESS, soon(4000), { authorization: `Bearer ${renewing.at(-1)}` })).processItem.job;
const watched = [];
for await (const { data } of other.iterate({ query: WATCH, variables: { id: job.id } })) {
  if (watched.at(-1)?.version !== data.jobUpdated.version) watched.push(data.jobUpdated);
}
checkWatched(watched);
check(connections > 1, 'it came back with another token');
await other.dispose();
console.log(JSON.stringify({ connections, pongs, states: seen.map((state) => state.status) }));
