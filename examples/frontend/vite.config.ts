import { generate } from '@graphql-codegen/cli';
import { defineConfig, type Plugin } from 'vite';
import codegen from './codegen';

// The page and the API are of one origin, here by a proxy: so Onward needs no setting, and the Host stays the page's own.
const proxy = {
  '/graphql': { target: process.env.ONWARD_URL ?? 'http://127.0.0.1:8000', ws: true, changeOrigin: false },
};

// A changed query is known to the page by what is made of it, so that is made anew; a wrong one is shown on the page.
const types: Plugin = {
  name: 'types',
  async handleHotUpdate({ file }) {
    if (/\/src\/(?!made\/)/.test(file)) await generate({ ...codegen, silent: true }, true);
  },
};

export default defineConfig({
  plugins: [types],
  resolve: { preserveSymlinks: true }, // onward-client is a link, and takes its peers from here
  server: { proxy },
  preview: { proxy },
  build: { target: 'es2022' },
});
