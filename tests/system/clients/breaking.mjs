// The changes from one SDL file to another that break clients, by the name that changed.
import { readFile } from 'node:fs/promises';
import { CriticalityLevel, diff } from '@graphql-inspector/core';
import { buildSchema } from 'graphql';

const [before, after] = await Promise.all(process.argv.slice(2, 4).map(async (path) => buildSchema(await readFile(path, 'utf8'))));
const changes = await diff(before, after);
console.log(JSON.stringify(changes
  .filter((change) => change.criticality.level === CriticalityLevel.Breaking)
  .map(({ path, message }) => ({ path, message }))));
