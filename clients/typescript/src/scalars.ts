/** The schema's scalars in TypeScript, for `config.scalars` of graphql-codegen: those of handlers' types, too. */
export const scalars = {
  DateTime: 'string',
  JSON: 'unknown',
  Date: 'string',
  Time: 'string',
  Duration: 'string',
  Decimal: 'string',
  UUID: 'string',
  BigInt: { input: 'number | string', output: 'string' },
} as const;
