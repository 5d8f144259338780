// graphql-codegen's client preset, with the schema of the running server and documents by their SHA-256.
import { generate } from '@graphql-codegen/cli';

const [, , url, folder] = process.argv;
const made = await generate({
  cwd: folder,
  schema: url,
  documents: ['page.ts'],
  silent: true,
  generates: {
    'made/': {
      preset: 'client',
      presetConfig: { persistedDocuments: { hashAlgorithm: 'sha256' } },
      config: { useTypeImports: true, emitLegacyCommonJSImports: false, strictScalars: true, scalars: { JSON: 'unknown', DateTime: 'string' } },
    },
  },
}, true);
console.log(JSON.stringify({ files: made.map((file) => file.filename) }));
process.exit(0);
