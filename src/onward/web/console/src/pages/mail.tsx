// The messages in files, shown as plain text during development.
import { Answer } from '../components/Answer';
import { EmptyState } from '../components/EmptyState';
import { Time } from '../components/Time';
import { letters } from '../generated/mail';
import { useQuery } from '../hooks';

const LOOK_MS = 4_000;

export function Mail() {
  const asked = useQuery(letters, {}, LOOK_MS);
  return (
    <div class="stack">
      <h1>Mail</h1>
      <Answer of={asked}>
        {({ system: { letters: found } }) => (found?.length ? (
          <section class="card" aria-label="Messages">
            {found.map(({ id, subject, recipient, sentAt, text }) => (
              <details key={id} class="email" data-email={id}>
                <summary><b>{subject}</b>{` to ${recipient} `}{sentAt ? <span class="faint"><Time at={sentAt} /></span> : null}</summary>
                <pre>{text}</pre>
              </details>
            ))}
          </section>
        ) : <EmptyState title={found ? 'No message yet.' : 'Messages are not kept in files here.'} />)}
      </Answer>
    </div>
  );
}
