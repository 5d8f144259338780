// GraphiQL with Onward's operations in its tabs, speaking HTTP and graphql-transport-ws to the page's own address.
import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './explorer.css';
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL } from 'graphiql';
import { Kind, parse } from 'graphql';
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';
import { headers, opened, storage, tabs } from '../../static/shared/operations.js';

const place = document.getElementById('explorer');
const url = new URL(location.pathname, location.origin);
const subscriptionUrl = Object.assign(new URL(url), { protocol: url.protocol === 'https:' ? 'wss:' : 'ws:' });

// The toolkit opens a socket for each subscription and hands it the headers editor as the payload of connection_init.
const send = createGraphiQLFetcher({ url: url.href, subscriptionUrl: subscriptionUrl.href, enableIncrementalDelivery: false });

// For a moment after a change of tabs GraphiQL still holds the facts of the last one; what is sent is what is seen.
function fetcher(params, options) {
  let documentAST;
  try {
    documentAST = parse(params.query);
  } catch {
    return send(params, options); // the server says what is wrong with it
  }
  const names = documentAST.definitions.filter((part) => part.kind === Kind.OPERATION_DEFINITION).map((part) => part.name?.value);
  const operationName = names.includes(params.operationName) ? params.operationName : names[0];
  return send({ ...params, operationName }, { ...options, documentAST });
}

const stored = storage();
const { query, variables } = opened(stored);
createRoot(place).render(
  createElement(GraphiQL, {
    fetcher, storage: stored, defaultTabs: tabs, initialQuery: query, initialVariables: variables, defaultHeaders: headers,
    defaultEditorToolsVisibility: 'variables',
  },
    createElement(GraphiQL.Logo, null, createElement('a', { className: 'onward', href: place.dataset.jobs }, 'Onward'))),
);
