interface Keyable {
  idempotencyKey?: string | null | undefined;
}

/**
 * The input with an idempotency key, made here unless it has one: sent again, the same input makes no second job.
 *
 * One call is one wish: a form that is sent again by hand after an error keeps the input that it has got from here.
 */
export function keyed<Input extends object>(input: Input): Input & { idempotencyKey: string } {
  return { ...input, idempotencyKey: (input as Keyable).idempotencyKey ?? newKey() };
}

/** A random key. Not `crypto.randomUUID`, which pages without TLS lack. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * True if a GraphQL request's body holds one mutation whose input has an idempotency key, so that it may be sent again.
 *
 * With a second field in the mutation nobody knows here whether that one may be done twice.
 */
export function isRepeatable(body: unknown): boolean {
  if (typeof body !== 'string' || !body.includes('idempotencyKey')) return false;
  try {
    const { query, variables } = JSON.parse(body) as { query?: unknown; variables?: Record<string, unknown> };
    const inputs = Object.values(variables ?? {}).filter((value) => typeof value === 'object' && value !== null);
    const keys = inputs.filter((input) => typeof (input as Keyable).idempotencyKey === 'string');
    return keys.length === 1 && typeof query === 'string' && isOneMutation(query);
  } catch {
    return false;
  }
}

// Names and punctuation; block strings, strings and comments are left out.
const TOKENS = /"""(?:\\"""|[^])*?"""|"(?:\\.|[^"\\\n])*"|#[^\n\r]*|\.\.\.|[_A-Za-z]\w*|[{}()@:]/g;

/** True if the only operation of the document is a mutation with a single field. */
function isOneMutation(document: string): boolean {
  const tokens = (document.match(TOKENS) ?? []).filter((token) => !/^["#]/.test(token));
  let depth = 0; // of braces, outside of parentheses
  let inside = 0; // parentheses
  let definition = '';
  let operations = 0;
  let fields = 0;
  for (const [index, token] of tokens.entries()) {
    if (token === '(') inside += 1;
    else if (token === ')') inside -= 1;
    else if (inside) continue;
    else if (token === '{') {
      if (!depth && definition !== 'fragment') operations += 1;
      depth += 1;
    } else if (token === '}') {
      depth -= 1;
      if (!depth) definition = '';
    } else if (!depth) definition ||= token;
    else if (depth === 1 && definition !== 'fragment') {
      if (definition !== 'mutation' || token === '...') return false;
      const isAlias = tokens[index + 1] === ':';
      const isDirective = tokens[index - 1] === '@';
      if (token !== ':' && token !== '@' && !isAlias && !isDirective) fields += 1;
    }
  }
  return operations === 1 && fields === 1;
}
