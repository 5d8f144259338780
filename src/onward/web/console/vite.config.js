import { defineConfig } from 'vite';

export default defineConfig({
  base: './', // relative, so that the page also works below a path of a proxy's choosing
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: {
    outDir: '../static/console/by-hand', // src/onward/web/build.py names another
    emptyOutDir: true,
    manifest: 'manifest.json',
    target: 'es2022',
    modulePreload: false,
  },
});
