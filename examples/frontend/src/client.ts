import { createClient } from 'graphql-ws';
import { cacheExchange, Client, fetchExchange, subscriptionExchange } from 'urql';

const url = new URL('/graphql', location.href).href;

// Comes back by itself however often the connection is lost; each subscription then begins with the job as it is.
const socket = createClient({
  url: url.replace(/^http/, 'ws'),
  retryAttempts: Infinity,
  shouldRetry: () => true,
});

export const client = new Client({
  url,
  preferGetMethod: false,
  exchanges: [
    cacheExchange,
    fetchExchange,
    subscriptionExchange({
      forwardSubscription: ({ query = '', variables }) => ({
        subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
      }),
    }),
  ],
});

/** Tells whether the connection for subscriptions is there, whenever that changes; gives what ends it. */
export function onConnection(tell: (open: boolean) => void): () => void {
  const ends = [socket.on('connected', () => tell(true)), socket.on('closed', (event) => tell((event as CloseEvent).code === 1000))];
  return () => ends.forEach((end) => end());
}
