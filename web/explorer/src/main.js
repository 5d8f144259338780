// GraphiQL with Onward's operations in its tabs, speaking HTTP and graphql-transport-ws to the page's own address.
import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './explorer.css';
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL } from 'graphiql';
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';
import { headers, storage, tabs } from '../../static/shared/operations.js';

const url = new URL('graphql', document.baseURI);
const subscriptionUrl = Object.assign(new URL(url), { protocol: url.protocol === 'https:' ? 'wss:' : 'ws:' });

// The toolkit opens a socket for each subscription and hands it the headers editor as the payload of connection_init.
const fetcher = createGraphiQLFetcher({ url: url.href, subscriptionUrl: subscriptionUrl.href, enableIncrementalDelivery: false });

createRoot(document.getElementById('explorer')).render(
  createElement(GraphiQL, { fetcher, storage: storage(), defaultTabs: tabs, defaultHeaders: headers, defaultEditorToolsVisibility: 'variables' },
    createElement(GraphiQL.Logo, null, createElement('a', { className: 'onward', href: './' }, 'Onward'))),
);
