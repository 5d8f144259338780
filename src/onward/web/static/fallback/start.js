// GraphiQL from the public CDN, while none is built here. When that fails, the page says so and what to do.
import { headers, opened, storage, tabs } from '../shared/operations.js';

const place = document.getElementById('explorer');
const building = place.dataset.building === 'yes';
const PATIENCE_MS = 20_000;

try {
  for (const link of document.querySelectorAll('link[rel=preload]')) await load(link);
  show();
} catch {
  explain();
  if (building) reloadWhenBuilt();
}

// Fetched with the integrity that the page names: a file that differs by one byte is refused by the browser.
function load(link) {
  const element = link.as === 'style' ? document.createElement('link') : document.createElement('script');
  element.integrity = link.integrity;
  element.crossOrigin = 'anonymous';
  if (link.as === 'style') Object.assign(element, { rel: 'stylesheet', href: link.href });
  else element.src = link.href;
  return new Promise((done, fail) => {
    element.onload = done;
    element.onerror = () => fail(new Error(link.href));
    setTimeout(() => fail(new Error('no answer in time')), PATIENCE_MS);
    document.head.append(element);
  });
}

function show() {
  const { React, ReactDOM, GraphiQL } = window;
  const url = new URL(location.pathname, location.origin);
  const subscriptionUrl = Object.assign(new URL(url), { protocol: url.protocol === 'https:' ? 'wss:' : 'ws:' });
  const fetcher = GraphiQL.createFetcher({ url: url.href, subscriptionUrl: subscriptionUrl.href, enableIncrementalDelivery: false });
  const stored = storage();
  ReactDOM.createRoot(place).render(React.createElement(GraphiQL, {
    fetcher, storage: stored, defaultTabs: tabs, ...opened(stored), defaultHeaders: headers,
    defaultEditorToolsVisibility: 'variables',
  }));
}

function explain() {
  const next = building
    ? 'It is being built on the server now; this page opens it as soon as it is there.'
    : 'To have it without the internet: install Node.js with npm where the server runs, then run: python -m onward.web.build';
  const words = document.createElement('p');
  words.className = 'waiting';
  words.setAttribute('role', 'status');
  words.append('The explorer cannot be shown yet: it has not been built on this server, and the public CDN (cdn.jsdelivr.net) '
    + 'could not be reached. ', next, ' Until then, the console shows the jobs: ');
  words.append(Object.assign(document.createElement('a'), { href: place.dataset.jobs, textContent: 'open it' }), '.');
  place.replaceChildren(words);
}

function reloadWhenBuilt() {
  setInterval(async () => {
    const answer = await fetch(new URL('../explorer/current.json', import.meta.url), { cache: 'no-store' }).catch(() => null);
    if (answer?.ok) location.reload();
  }, 3_000);
}
