import { type FormEvent, useRef, useState } from 'react';
import { useMutation } from 'urql';
import { graphql } from './made';
import type { RegisterMutation } from './made/graphql';

const Register = graphql(`
  mutation Register($input: RegisterUserInput!) {
    registerUser(input: $input) {
      user { username }
      job { id }
      errors { message path }
    }
  }
`);

type Problem = NonNullable<RegisterMutation['registerUser']>['errors'][number];
export type Registered = { job: string; username: string };

const FIELDS = [
  { name: 'username', label: 'Username', type: 'text', autoComplete: 'username' },
  { name: 'email', label: 'E-mail', type: 'email', autoComplete: 'email' },
] as const;
const UNREACHABLE = { message: 'The server did not answer. Send it again: nothing is done twice.', path: null };

export function RegisterForm({ onRegistered }: { onRegistered: (one: Registered) => void }) {
  const [{ fetching }, register] = useMutation(Register);
  const [problems, setProblems] = useState<Problem[]>([]);
  const form = useRef<HTMLFormElement>(null);
  // One key for one wish: sent again after a lost answer, it is the same user and the same job.
  const wish = useRef({ text: '', key: '' });

  const at = (field: string) => problems.filter((problem) => problem.path?.[0] === field);
  const elsewhere = problems.filter((problem) => !FIELDS.some((field) => field.name === problem.path?.[0]));

  async function send(event: FormEvent) {
    event.preventDefault();
    const data = new FormData(form.current!);
    const given = { username: String(data.get('username')), email: String(data.get('email')) };
    const text = JSON.stringify(given);
    if (wish.current.text !== text) wish.current = { text, key: crypto.randomUUID() };
    const { data: answer, error } = await register({ input: { ...given, idempotencyKey: wish.current.key } });
    const payload = answer?.registerUser;
    const found = payload?.errors ?? [error?.graphQLErrors[0] ? { message: error.graphQLErrors[0].message, path: null } : UNREACHABLE];
    setProblems(found);
    if (payload?.job) {
      onRegistered({ job: payload.job.id, username: payload.user?.username ?? given.username });
      form.current?.reset();
      wish.current = { text: '', key: '' };
    }
    const wrong = FIELDS.find((field) => found.some((problem) => problem.path?.[0] === field.name));
    (form.current?.elements.namedItem(wrong?.name ?? 'username') as HTMLElement | null)?.focus();
  }

  return (
    <form ref={form} onSubmit={send} noValidate aria-label="Register">
      {FIELDS.map(({ name, label, type, autoComplete }) => (
        <div key={name} className="field">
          <label htmlFor={name}>{label}</label>
          <input
            id={name}
            name={name}
            type={type}
            autoComplete={autoComplete}
            aria-invalid={at(name).length > 0}
            aria-describedby={`${name}-problem`}
          />
          <p id={`${name}-problem`} className="problem">
            {at(name).map((problem) => problem.message).join(' ')}
          </p>
        </div>
      ))}
      <button type="submit" disabled={fetching}>
        {fetching ? 'Sending' : 'Register'}
      </button>
      <p role="alert" className="problem">
        {elsewhere.map((problem) => problem.message).join(' ')}
      </p>
    </form>
  );
}
