// Writes src/generated/*.ts: the operations of ../operations/*.graphql as texts with the types of their answers and variables.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { codegen } from '@graphql-codegen/core';
import * as plugin from '@graphql-codegen/typescript-operations';
import { parse, visit } from 'graphql';

const from = new URL('../operations/', import.meta.url);
const to = new URL('src/generated/', import.meta.url);
const schema = parse(readFileSync(new URL('../../../../gql/schema.graphql', import.meta.url), 'utf8'));
const config = {
  scalars: { ID: 'string', DateTime: 'string', JSON: 'unknown' },
  enumType: 'string-literal', skipTypename: true, omitOperationSuffix: true, strictScalars: true, disableDescriptions: true,
};

const files = readdirSync(from).filter((name) => name.endsWith('.graphql')).sort();
const documents = new Map(files.map((name) => [name, parse(readFileSync(new URL(name, from), 'utf8'))]));
const fragments = new Map([...documents.values()].flatMap(({ definitions }) => definitions)
  .filter(({ kind }) => kind === 'FragmentDefinition').map((fragment) => [fragment.name.value, fragment]));

for (const [name, { definitions }] of documents) {
  const operations = definitions.filter(({ kind }) => kind === 'OperationDefinition');
  const used = [...new Set(operations.flatMap(withFragments))];
  const types = await codegen({
    schema, config, filename: name, documents: [{ document: { kind: 'Document', definitions: used } }],
    plugins: [{ operations: {} }], pluginMap: { operations: plugin },
  });
  const texts = operations.map((operation) => {
    const { value } = operation.name;
    const type = value[0].toUpperCase() + value.slice(1);
    return `export const ${value}: Operation<${type}, ${type}Variables> = {\n  text: ${JSON.stringify(textOf(operation))},\n};\n`;
  });
  const head = `// Made by \`npm run generate\` from operations/${name}; do not edit.\nimport type { Operation } from '../graphql';\n`;
  if (texts.length) writeFileSync(new URL(name.replace('.graphql', '.ts'), to), `${head}\n${types.trim()}\n\n${texts.join('\n')}`);
}

// The operation, and each fragment that it needs, in the order of their first use. The server reads the same: web/documents.py.
function withFragments(operation) {
  const found = [operation];
  for (const one of found) {
    visit(one, { FragmentSpread: ({ name }) => { if (!found.includes(fragments.get(name.value))) found.push(fragments.get(name.value)); } });
  }
  return found;
}

function textOf(operation) {
  return withFragments(operation).map(({ loc }) => loc.source.body.slice(loc.start, loc.end)).join('\n');
}
