import { type FormEvent, useState } from 'react';

export function SignIn({ onSignedIn }: { onSignedIn: (address: string) => void }) {
  const [problem, setProblem] = useState('');

  async function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const { submitter } = event.nativeEvent as SubmitEvent;
    const given = Object.fromEntries(new FormData(event.currentTarget)) as { email: string; password: string };
    const answer = await fetch(submitter?.getAttribute('formaction') ?? '/login', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(given),
    });
    if (answer.ok) return onSignedIn(given.email);
    const { detail } = await answer.json();
    setProblem(typeof detail === 'string' ? detail : 'Give an address, and a password of ten characters or more.');
  }

  return (
    <form onSubmit={send} aria-label="Your account">
      <label>
        E-mail <input name="email" type="email" autoComplete="username" required />
      </label>
      <label>
        Password <input name="password" type="password" autoComplete="current-password" minLength={10} required />
      </label>
      <button formAction="/login">Sign in</button>
      <button formAction="/register">Register</button>
      <p role="alert">{problem}</p>
    </form>
  );
}
