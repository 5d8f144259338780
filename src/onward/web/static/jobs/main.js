// The page is put together: one socket, one feed of changes, and the views that hear it.
import { Chart } from './chart.js';
import { question } from './dialogs.js';
import { byId, el, setAttribute, setText } from './dom.js';
import { Feed } from './feed.js';
import { Filters } from './filters.js';
import { Follow } from './follow.js';
import { forms } from './forms.js';
import { JobView } from './job.js';
import { SentEmails } from './sent-emails.js';
import { List } from './list.js';
import { Rates } from './rates.js';
import { route, toOverview } from './route.js';
import { Socket } from './socket.js';
import { System } from './system.js';
import { onToken, setToken, token } from './token.js';

// A server that wants a token has nothing to show and takes no job: what could only be refused is put away.
const REFUSED = 'This server answers only with an access token. Press Token, and paste yours.';
const WORDS = {
  connecting: 'Connecting',
  live: 'Live',
  lost: 'Not live: asking every few seconds',
  refused: 'Not live: the server refused this page',
};
const POLL_MS = 3_000;

const socket = new Socket();
const feed = new Feed(socket);
const rates = new Rates();
const chart = new Chart(byId('pulse'), rates);
const notices = new Map();
const filters = new Filters({ onResult: (error, words) => { notice('retry', error?.message ?? words); list.refresh(); } });
const system = new System({ rates, live: () => socket.state === 'live', choose: (status) => filters.toggle(status) });
const list = new List(byId('jobs'), (error) => notice('list', error?.message));
const sentEmails = new SentEmails();
const follow = new Follow(byId('follow'), feed);
let from = '#/'; // the list that a job was opened from
let left = null; // the job that was opened last
const job = new JobView({ feed, socket, back: () => from });

const sends = forms(byId('send'), { accepted: (accepted) => { follow.add(accepted); feed.take(accepted); system.stir(); } });
for (const id of ['send', 'follow']) byId(id).closest('section').hidden = !sends;
feed.onEach((changed) => rates.see(changed));
feed.onBatch((batch) => { list.take(batch); system.stir(); });
system.onTold((error) => {
  setAttribute(document.body, 'data-refused', system.refused ? '' : null);
  notice('system', system.refused ? REFUSED : error?.message);
  filters.handlers(system.handlers);
  chart.draw();
  byId('sent-emails').hidden = !system.mailed;
  if (system.mailed) sentEmails.look().catch((failure) => notice('sent-emails', failure.message));
  if (socket.state !== 'live' && !byId('overview').hidden) list.refresh();
});
socket.onState((state) => {
  setText(byId('connection'), WORDS[state]);
  setAttribute(byId('connection'), 'data-state', state);
  if (state === 'live') { list.refresh(); system.stir(); } // what was missed meanwhile
});
onToken(() => { socket.reconnect(); system.look(); show(); });
byId('token-open').addEventListener('click', askForToken);
addEventListener('hashchange', show);
addEventListener('online', () => socket.connect());
document.addEventListener('visibilitychange', () => { if (!document.hidden) system.look(); });
setInterval(() => { if (!document.hidden) chart.draw(); }, POLL_MS);

show();
feed.start();
system.look();

function show() {
  if (location.hash && !location.hash.startsWith('#/')) return; // the skip link
  const to = route();
  byId('overview').hidden = to.view !== 'overview';
  byId('job').hidden = to.view !== 'job';
  if (to.view === 'job') {
    left = to.id;
    job.open(to.id);
    return;
  }
  job.close();
  document.title = 'Jobs - Onward';
  from = toOverview(to.filter);
  filters.show(to.filter);
  system.press(to.filter.status);
  list.filter(to.filter).then(() => { if (left) list.focus(left); left = null; });
}

// One line for all errors, each cause shown once and removed when it is over.
function notice(cause, words) {
  if (words) notices.set(cause, words);
  else notices.delete(cause);
  const said = [...new Set(notices.values())].join(' ');
  setText(byId('notice'), said);
  byId('notice').hidden = !said;
}

async function askForToken() {
  const answer = await question({
    title: 'Access token',
    text: 'For a server that asks for one. It stays in this tab and is sent with each question; it is never put into an address.',
    fields: [el('div', { class: 'field' }, el('label', { for: 'token' }, 'Bearer token'),
      el('input', { id: 'token', name: 'token', type: 'password', value: token(), autocomplete: 'off', spellcheck: 'false' }))],
    yes: 'Use it',
  });
  if (answer) setToken(String(answer.get('token')));
}
