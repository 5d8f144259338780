// The frame of every page: the navigation, the state of the connection, notices, the token.
import { useEffect } from 'preact/hooks';
import { question } from './components/Dialog';
import { EmptyState } from './components/EmptyState';
import { shell } from './generated/shell';
import { connection, type Connection } from './graphql';
import { useQuery } from './hooks';
import { announced, notice, notices } from './notices';
import { pages } from './pages';
import { href, useRoute } from './route';
import { useStore } from './store';
import { setToken, token } from './token';
import { person, refuse, tell, useSystem, useViewer } from './viewer';

const LOOK_MS = 4_000;
const REFUSED = 'This server answers only with an access token. Press Token, and paste yours.';
const WORDS: Record<Connection, string> = {
  connecting: 'Connecting',
  live: 'Live',
  lost: 'Not live: asking every few seconds',
  refused: 'Not live: the server refused this page',
};

export function Shell({ explorer, icon }: { explorer: string; icon: string }) {
  const { path } = useRoute();
  const viewer = useViewer();
  const system = useSystem();
  const who = useStore(person);
  useLook();
  const page = pages.find((one) => one.path === (path[0] ?? ''));
  const isJob = page?.path === 'jobs' && path.length > 1; // its page has a title of its own
  const unknown = viewer?.refused && !viewer.id && !viewer.roles.length;
  useEffect(() => { if (page && !isJob) document.title = `${page.title} - Onward`; }, [page, isJob]);
  return (
    <>
      <a class="skip" href="#main">Skip to the content</a>
      <header class="top">
        <a class="brand" href="#/"><img src={icon} alt="" width="26" height="26" />Onward</a>
        <State />
        <nav aria-label="Elsewhere" class="elsewhere">
          <a href={explorer}>Explorer</a>
          <button type="button" class="quiet" aria-haspopup="dialog" onClick={askForToken}>Token</button>
        </nav>
      </header>
      <nav aria-label="Pages" class="pages">
        <ul>
          {pages.filter(({ when }) => !when || (system && when(system))).map(({ path: name, title }) => (
            <li key={name}><a href={href(name)} aria-current={page?.path === name ? 'page' : undefined}>{title}</a></li>
          ))}
        </ul>
      </nav>
      <Notices />
      <main id="main" tabIndex={-1}>
        {unknown ? null : ( // hidden, not removed: a token that has run out takes nothing away that was typed
          <div key={who} hidden={viewer?.refused ?? false}>
            {page ? <page.view /> : <EmptyState title="There is no such page."><a href="#/">Overview</a></EmptyState>}
          </div>
        )}
      </main>
      <About />
      <Announcer />
    </>
  );
}

function useLook(): void {
  const { data, error } = useQuery(shell, {}, LOOK_MS);
  const viewer = useViewer();
  useEffect(() => { if (data) tell(data); }, [data]);
  useEffect(() => { if (error?.code === 'NOT_AUTHENTICATED') refuse(); }, [error]);
  useEffect(() => notice('system', viewer?.refused ? REFUSED : error?.message), [viewer?.refused, error]);
}

function State() {
  const state = useStore(connection);
  return <p class="connection" id="connection" role="status" data-state={state}>{WORDS[state]}</p>;
}

// One line for all errors.
function Notices() {
  const said = [...new Set(useStore(notices).values())].join(' ');
  return <div class="notice" id="notice" role="alert" hidden={!said}>{said}</div>;
}

function Announcer() {
  return <p class="unseen" aria-live="polite">{useStore(announced)}</p>;
}

function About() {
  const system = useSystem();
  const viewer = useViewer();
  if (!system || !viewer) return <footer class="foot" />;
  const who = viewer.id && !viewer.refused ? `You are ${viewer.id}${viewer.roles.length ? ` (${viewer.roles.join(', ')})` : ''}` : 'No one is signed in';
  return <footer class="foot"><p>{`Onward ${system.version} · jobs go to “${system.backend}” · ${who}`}</p></footer>;
}

async function askForToken(): Promise<void> {
  const answer = await question({
    title: 'Access token',
    text: 'For a server that asks for one. It stays in this tab and is sent with each question; it is never put into an address.',
    fields: (
      <div class="field">
        <label for="token">Bearer token</label>
        <input id="token" name="token" type="password" defaultValue={token.value} autocomplete="off" spellcheck={false} />
      </div>
    ),
    yes: 'Use it',
  });
  if (answer) setToken(String(answer.get('token')));
}
