// Apollo Client: HTTP with persisted queries, subscriptions by WebSocket, its cache by ids.
import { createHash } from 'node:crypto';
import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { check, checkWatched, PROCESS, soon, WATCH } from './operations.mjs';

const url = process.argv[2];
const socket = createClient({ url: url.replace('http', 'ws'), webSocketImpl: WebSocket });
const sha256 = (text) => createHash('sha256').update(text).digest('hex');
const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: ApolloLink.split(
    ({ operationType }) => operationType === 'subscription',
    new GraphQLWsLink(socket),
    new PersistedQueryLink({ sha256 }).concat(new HttpLink({ uri: url })),
  ),
});

const { data } = await client.mutate({ mutation: gql(PROCESS), variables: soon(700) });
const id = data.processItem.job.id;
const seen = [];
await new Promise((resolve, reject) => {
  client.subscribe({ query: gql(WATCH), variables: { id } }).subscribe({
    next: (result) => (result.error ? reject(result.error) : seen.push(result.data.jobUpdated)),
    error: reject,
    complete: resolve,
  });
});
checkWatched(seen);
const query = gql`query jobs($after: String) { jobs(first: 1, after: $after) { nodes { id status } pageInfo { endCursor } } }`;
const page = (await client.query({ query })).data.jobs;
check(page.nodes[0].id === id && page.nodes[0].status === 'SUCCEEDED', 'the list has the job');
const cached = client.readFragment({ id: `Job:${id}`, fragment: gql`fragment state on Job { status }` });
check(cached?.status === 'SUCCEEDED', 'the cache knows the job by its id');
let refused;
try {
  await client.query({ query: gql`{ jobs(first: 1, last: 1) { nodes { id } } }` });
} catch (error) {
  refused = error;
}
check(refused?.errors?.[0]?.extensions?.code === 'INVALID', `errors keep their codes: ${refused}`);
await socket.dispose();
client.stop();
console.log(JSON.stringify({ states: seen.map((state) => state.status) }));
