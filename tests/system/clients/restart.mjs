// Clients with the options of docs/frontend.md, which come back by themselves after a restart of the server.
import { Client, fetchExchange } from '@urql/core';
import { retryExchange } from '@urql/exchange-retry';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { createInterface } from 'node:readline';
import { WATCH } from './operations.mjs';

const [, , url, id] = process.argv;
const socket = createClient({
  url: url.replace('http', 'ws'),
  webSocketImpl: WebSocket,
  retryAttempts: Infinity,
  shouldRetry: () => true,
});
const events = new Client({
  url,
  preferGetMethod: false,
  fetchSubscriptions: true,
  exchanges: [
    retryExchange({ initialDelayMs: 100, maxDelayMs: 1000, maxNumberAttempts: Infinity, retryIf: (error) => !!error.networkError }),
    fetchExchange,
  ],
});
const ends = {};
const report = (name, job) => {
  if (!job) return;
  if (!(name in ends)) { ends[name] = null; console.log(`watching ${name}`); }
  if (job.done && !ends[name]) {
    ends[name] = job.status;
    if (Object.keys(ends).length === 2 && Object.values(ends).every(Boolean)) { console.log(JSON.stringify(ends)); process.exit(0); }
  }
};
socket.subscribe({ query: WATCH, variables: { id } }, { next: ({ data }) => report('graphql-ws', data?.jobUpdated), error: console.error, complete() {} });
events.subscription(WATCH, { id }).subscribe((result) => report('urql', result.data?.jobUpdated));
createInterface({ input: process.stdin });
