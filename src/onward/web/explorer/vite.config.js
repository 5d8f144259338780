import { defineConfig } from 'vite';

export default defineConfig({
  base: './', // relative, so that the page also works below a path of a proxy's choosing
  build: {
    outDir: '../static/explorer/by-hand', // src/onward/web/build.py names another
    emptyOutDir: true,
    manifest: 'manifest.json',
    target: 'es2022',
    chunkSizeWarningLimit: 8000,
    rollupOptions: {
      onwarn: (warning, warn) => warning.code === 'MODULE_LEVEL_DIRECTIVE' || warn(warning), // "use client": for frameworks
    },
  },
  worker: { format: 'es' }, // monaco-graphql's worker loads its printer when first asked to print
});
