// GraphQL over HTTP, by the audits of graphql-http. Prints the names of those that fail.
import { auditServer } from 'graphql-http';

const results = await auditServer({ url: process.argv[2], fetchFn: fetch });
console.log(JSON.stringify({
  count: results.length,
  failed: results.filter((result) => result.status !== 'ok').map((result) => `${result.status} ${result.name}: ${result.reason}`),
}));
