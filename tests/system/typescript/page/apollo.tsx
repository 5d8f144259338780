import { ApolloClient, InMemoryCache } from '@apollo/client';
import { ApolloProvider, useFragment, useQuery, useSubscription } from '@apollo/client/react';
import { apolloSource, onwardLink } from 'onward-client/apollo';
import { type ReactNode, useState } from 'react';
import { Fields, input, Live, Newest, Send } from './documents';
import { api, hear, open } from './page';

const client = new ApolloClient({ cache: new InMemoryCache(), link: onwardLink(api) });

function Frame({ children }: { children: ReactNode }) {
  const { data } = useQuery(Newest);
  return (
    <>
      {data && <Changes after={data.jobs.change} />}
      {children}
    </>
  );
}

/** Keeps the jobs in the cache live, from the first answer on. */
function Changes({ after }: { after: string }) {
  const [variables] = useState({ afterChange: after });
  useSubscription(Live, { variables, onData: ({ data: { data } }) => data && hear(data.jobsUpdated) });
  return null;
}

open({
  source: apolloSource(client, api),
  send: async (ticks) => {
    try {
      const { data } = await client.mutate({ mutation: Send, variables: { input: input(ticks) } });
      return { payload: data?.slowCount, error: undefined };
    } catch (error) {
      return { payload: null, error };
    }
  },
  useCached: (id) => {
    const { data, complete } = useFragment({ fragment: Fields, from: { __typename: 'Job', id } });
    return complete ? data : undefined;
  },
  Frame: ({ children }) => (
    <ApolloProvider client={client}>
      <Frame>{children}</Frame>
    </ApolloProvider>
  ),
});
