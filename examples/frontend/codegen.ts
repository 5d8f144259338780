import type { CodegenConfig } from '@graphql-codegen/cli';
import { scalars } from 'onward-client';

// From the schema in the repository: no server has to run. With a server of your own, its address stands here.
const config: CodegenConfig = {
  schema: '../../gql/schema.graphql',
  documents: ['src/**/*.{ts,tsx}', '!src/made/**'],
  generates: {
    'src/made/': {
      preset: 'client',
      presetConfig: { fragmentMasking: { unmaskFunctionName: 'readFragment' } },
      config: {
        enumsAsTypes: true,
        useTypeImports: true,
        strictScalars: true,
        scalars,
      },
    },
  },
};

export default config;
