import { cacheExchange, type Client, type ClientOptions, type DocumentInput, type Exchange, fetchExchange, mapExchange, type Operation, subscriptionExchange } from '@urql/core';
import type { JobSource } from './follow.js';
import type { JobMemory } from './memory.js';
import type { Onward } from './connect.js';

/** Options for urql's client: its exchanges, and the fetch with the token and keyed retries. `cache` replaces `cacheExchange`. */
export function urqlOptions(onward: Onward, cache: Exchange = cacheExchange): ClientOptions {
  return {
    url: onward.url,
    fetch: onward.fetch,
    preferGetMethod: false,
    exchanges: [newestExchange(onward.memory), refetchExchange(onward), cache, newestExchange(onward.memory), fetchExchange, socketExchange(onward)],
  };
}

/**
 * Puts the newest known fields of each job into every answer. Before the cache it rewrites what the cache kept from
 * earlier; behind a normalized cache it keeps older answers out of it.
 */
export function newestExchange(memory: JobMemory): Exchange {
  return mapExchange({
    onResult: (result) => {
      const data = memory.fold(result.data, result.operation.query);
      return data === result.data ? result : { ...result, data };
    },
  });
}

/** Fetches the active queries anew when `jobsUpdated` may have missed a change. */
export function refetchExchange(onward: Onward): Exchange {
  return (input) => {
    const active = new Map<number, Operation>();
    let leave = () => {};
    const refetch = () => {
      for (const operation of active.values()) {
        const context = { ...operation.context, requestPolicy: 'cache-and-network' as const };
        input.client.reexecuteOperation(input.client.createRequestOperation('query', operation, context));
      }
    };
    const note = (operation: Operation) => {
      if (operation.kind === 'query') {
        if (!active.size) leave = onward.onGap(refetch);
        active.set(operation.key, operation);
      } else if (operation.kind === 'teardown' && active.delete(operation.key) && !active.size) leave(); // a client has no end
    };
    // `mapExchange` hides teardowns. A source calls its sink with 0 at the end, and else with a start or [an operation].
    return (operations) =>
      input.forward((sink) =>
        operations((signal) => {
          if (signal !== 0 && signal.tag === 1) note(signal[0]);
          sink(signal);
        }),
      );
  };
}

/** Runs subscriptions over the sockets. */
export function socketExchange(onward: Onward): Exchange {
  return subscriptionExchange({
    forwardSubscription: ({ query = '', variables, operationName, extensions }) => ({
      subscribe: (sink) => ({
        unsubscribe: onward.subscribe({ query, variables: variables as Record<string, unknown>, operationName, extensions }, sink),
      }),
    }),
  });
}

/** Follows jobs by urql's client. */
export function urqlSource(client: Client, onward: Onward): JobSource {
  return {
    memory: onward.memory,
    subscribe(document, id, sink) {
      const running = client.subscription<any>(document as DocumentInput, { id }).subscribe(({ data, error }) => {
        if (error) sink.error(error);
        else if (data) sink.next(data.jobUpdated);
      });
      return () => running.unsubscribe();
    },
  };
}
