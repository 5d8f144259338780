import { type FormEvent, useRef, useState } from 'react';
import { keyed, outcome } from 'onward-client';
import { useMutation } from 'urql';
import { graphql } from './made';
import type { RegisterMutation, RegisterUserInput } from './made/graphql';

const Register = graphql(`
  mutation Register($input: RegisterUserInput!) {
    registerUser(input: $input) {
      user { username }
      job { id version }
      errors { code message path }
    }
  }
`);

type Problem = Pick<NonNullable<RegisterMutation['registerUser']>['errors'][number], 'message' | 'path'>;
export type Registered = { job: string; username: string };

const FIELDS = [
  { name: 'username', label: 'Username', type: 'text', autoComplete: 'username' },
  { name: 'email', label: 'E-mail', type: 'email', autoComplete: 'email' },
] as const;

export function RegisterForm({ onRegistered }: { onRegistered: (one: Registered) => void }) {
  const [{ fetching }, register] = useMutation(Register);
  const [problems, setProblems] = useState<Problem[]>([]);
  const form = useRef<HTMLFormElement>(null);
  // One key for one wish: sent again after a lost answer, it is the same user and the same job.
  const wish = useRef<RegisterUserInput>(undefined);

  const at = (field: string) => problems.filter((problem) => problem.path?.[0] === field);
  const elsewhere = problems.filter((problem) => !FIELDS.some((field) => field.name === problem.path?.[0]));

  async function send(event: FormEvent) {
    event.preventDefault();
    const data = new FormData(form.current!);
    const given = { username: String(data.get('username')), email: String(data.get('email')) };
    const same = wish.current?.username === given.username && wish.current.email === given.email;
    const input = (wish.current = same ? wish.current! : keyed<RegisterUserInput>(given));
    const { data: answer, error } = await register({ input });
    const made = outcome(answer?.registerUser, error);
    const found = made.ok ? [] : made.errors;
    setProblems([...found]);
    if (made.ok) {
      onRegistered({ job: made.job.id, username: made.payload.user?.username ?? given.username });
      form.current?.reset();
      wish.current = undefined;
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
