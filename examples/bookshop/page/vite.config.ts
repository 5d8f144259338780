import { defineConfig } from 'vite';

// The page and the bookshop are of one origin, here by a proxy: so the session's cookie reaches both.
const target = process.env.BOOKSHOP_URL ?? 'http://127.0.0.1:8000';
const paths = ['/graphql', '/register', '/login', '/logout'];
const proxy = Object.fromEntries(paths.map((path) => [path, { target, ws: true, changeOrigin: false }]));

export default defineConfig({ server: { proxy }, preview: { proxy }, build: { target: 'es2022' } });
