import { useEffect, useState } from 'react';
import { onward } from './client';
import { JobCard } from './JobCard';
import { RegisterForm, type Registered } from './RegisterForm';

export function App() {
  const [registered, setRegistered] = useState<Registered[]>([]);
  const [connected, setConnected] = useState(true);
  useEffect(() => onward.onConnection(setConnected), []);

  return (
    <main>
      <header>
        <h1>Join us</h1>
        <p>You are registered at once. Your welcome letter is on its way, and you can watch it go.</p>
      </header>
      <RegisterForm onRegistered={(one) => setRegistered((before) => [one, ...before])} />
      <section aria-labelledby="letters">
        <h2 id="letters">Welcome letters</h2>
        {!connected && <p role="status">The connection is lost. It is being made again.</p>}
        {registered.length === 0 ? (
          <p className="empty">None yet: register, and the letter shows here.</p>
        ) : (
          <ul className="jobs">
            {registered.map(({ job, username }) => (
              <JobCard key={job} id={job} username={username} />
            ))}
          </ul>
        )}
      </section>
    </main>
  );
}
