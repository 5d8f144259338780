import { defineConfig } from 'vite';

// The page and the API are of one origin, here by a proxy: so Onward needs no setting, and the Host stays the page's own.
const proxy = {
  '/graphql': { target: process.env.ONWARD_URL ?? 'http://127.0.0.1:8000', ws: true, changeOrigin: false },
};

export default defineConfig({
  server: { proxy },
  preview: { proxy },
  build: { target: 'es2022' },
});
