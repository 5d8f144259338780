/** The schema's scalars in TypeScript, for `config.scalars` of graphql-codegen. */
export const scalars = { DateTime: 'string', JSON: 'unknown' } as const;
