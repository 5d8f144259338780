import { defineConfig } from 'vite';

export default defineConfig({
  build: { target: 'es2022', minify: false, rollupOptions: { input: ['apollo.html', 'urql.html'] } },
});
