import { type ApolloClient, ApolloLink, HttpLink } from '@apollo/client';
import type { DocumentNode } from 'graphql';
import { print } from 'graphql';
import { map, Observable } from 'rxjs';
import type { JobMemory } from './memory.js';
import type { JobSource } from './follow.js';
import type { Onward } from './connect.js';
import { toError } from './plain.js';

/**
 * The whole link for Apollo Client: HTTP with the token and keyed retries, subscriptions over sockets that come back, and
 * no job in any answer older than in one before. `http` replaces the link for queries and mutations; give it
 * `fetch: onward.fetch`.
 */
export function onwardLink(onward: Onward, http: ApolloLink = new HttpLink({ uri: onward.url, fetch: onward.fetch })): ApolloLink {
  return ApolloLink.from([
    newestLink(onward.memory),
    refetchLink(onward),
    ApolloLink.split(({ operationType }) => operationType === 'subscription', socketLink(onward), http),
  ]);
}

/** Puts the newest known fields of each job into every answer, before it reaches the cache. */
export function newestLink(memory: JobMemory): ApolloLink {
  return new ApolloLink((operation, forward) =>
    forward(operation).pipe(
      map((result) => {
        const data = memory.fold(result.data, operation.query);
        return data === result.data || data === undefined ? result : { ...result, data };
      }),
    ),
  );
}

/** Fetches the active queries anew when `jobsUpdated` may have missed a change. */
export function refetchLink(onward: Onward): ApolloLink {
  let known: ApolloClient | undefined;
  return new ApolloLink((operation, forward) => {
    if (!known) onward.onGap(() => void known!.refetchQueries({ include: 'active' }));
    known = operation.client;
    return forward(operation);
  });
}

/** Runs subscriptions over the sockets. */
export function socketLink(onward: Onward): ApolloLink {
  return new ApolloLink(
    ({ query, variables, operationName, extensions }) =>
      new Observable((sink) =>
        onward.subscribe(
          { query: print(query), variables, operationName: operationName ?? null, extensions },
          {
            next: (result) => sink.next(result),
            error: (error) => sink.error(toError(error)),
            complete: () => sink.complete(),
          },
        ),
      ),
  );
}

/** Follows jobs by Apollo Client, so that its cache has them too. */
export function apolloSource(client: ApolloClient, onward: Onward): JobSource {
  return {
    memory: onward.memory,
    subscribe(document, id, sink) {
      const running = client.subscribe<any>({ query: document as unknown as DocumentNode, variables: { id } }).subscribe({
        next: ({ data, error }) => {
          if (error) sink.error(toError(error));
          else if (data) sink.next(data.jobUpdated);
        },
        error: (error) => sink.error(toError(error)),
      });
      return () => running.unsubscribe();
    },
  };
}
