// urql: HTTP, and subscriptions both by server-sent events and by WebSocket.
import { cacheExchange, Client, fetchExchange, subscriptionExchange } from '@urql/core';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { check, checkWatched, PROCESS, ROLES, soon, WATCH } from './operations.mjs';

const url = process.argv[2];
const socket = createClient({ url: url.replace('http', 'ws'), webSocketImpl: WebSocket });
const bySocket = subscriptionExchange({
  forwardSubscription: ({ query, variables }) => ({
    subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
  }),
});
const ways = {
  websocket: new Client({ url, preferGetMethod: false, exchanges: [cacheExchange, fetchExchange, bySocket] }),
  events: new Client({ url, preferGetMethod: false, fetchSubscriptions: true, exchanges: [cacheExchange, fetchExchange] }),
};
const states = {};
for (const [name, client] of Object.entries(ways)) {
  const roles = await client.query(ROLES, {}).toPromise();
  check(roles.data?.viewer.roles[0] === 'admin', `${name}: ${roles.error}`);
  const made = await client.mutation(PROCESS, soon(700)).toPromise();
  check(made.data, `${name}: ${made.error}`);
  const seen = [];
  await new Promise((resolve, reject) => {
    client.subscription(WATCH, { id: made.data.processItem.job.id }).subscribe((result) => {
      if (result.error) reject(result.error);
      const job = result.data?.jobUpdated;
      if (job && seen.at(-1)?.version !== job.version) seen.push({ ...job });
      if (job?.done) resolve();
    });
  });
  checkWatched(seen);
  states[name] = seen.map((state) => state.status);
  const wrong = await client.query('{ nope }', {}).toPromise();
  check(wrong.error?.graphQLErrors.length === 1, `${name}: an invalid query is an error of GraphQL`);
}
await socket.dispose();
console.log(JSON.stringify(states));
process.exit(0);
