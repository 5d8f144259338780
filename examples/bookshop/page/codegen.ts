import type { CodegenConfig } from '@graphql-codegen/cli';
import { scalars } from 'onward-client';

const config: CodegenConfig = {
  schema: 'schema.graphql',
  documents: ['src/**/*.{ts,tsx}', '!src/made/**'],
  generates: {
    'src/made/': { preset: 'client', config: { scalars, strictScalars: true, enumsAsTypes: true, useTypeImports: true } },
  },
};

export default config;
