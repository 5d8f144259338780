import { OnwardProvider } from 'onward-client/react';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Provider } from 'urql';
import { App } from './App';
import { client, source } from './onward';
import './page.css';

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <Provider value={client}>
      <OnwardProvider source={source}>
        <App />
      </OnwardProvider>
    </Provider>
  </StrictMode>,
);
