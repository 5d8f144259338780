import { useState } from 'react';
import { useQuery } from 'urql';
import { Books } from './Books';
import { graphql } from './made';
import { SignIn } from './SignIn';

const Me = graphql(`query Me { me { email } }`);

export function App() {
  const [{ data, fetching }] = useQuery({ query: Me });
  const [address, setAddress] = useState<string>();
  const customer = address ?? data?.me?.email;

  return (
    <main>
      <h1>Bookshop</h1>
      {customer ? <p>Signed in as {customer}.</p> : !fetching && <SignIn onSignedIn={setAddress} />}
      <Books signedIn={customer !== undefined} />
    </main>
  );
}
