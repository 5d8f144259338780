// Questions to GraphQL over HTTP, at the address that the page links to.
import { parse } from './exact.js';
import { credentials } from './token.js';

export const address = new URL(document.getElementById('graphql').href);
const PATIENCE_MS = 15_000;

let ahead = 0;

// The server's time now, by the Date of its last answer: this machine's clock may be another.
export const serverNow = () => Date.now() + ahead;

export class ApiError extends Error {
  constructor(message, { code = '', reached = true } = {}) {
    super(message);
    this.code = code;
    this.reached = reached; // false: no answer, so nobody knows whether the server did it
  }
}

// Gives the data, or raises ApiError. A mutation's own `errors` are data.
export async function ask(query, variables = {}) {
  let response;
  let body;
  try {
    response = await fetch(address, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json', ...credentials() },
      body: JSON.stringify({ query, variables }),
      credentials: 'same-origin',
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    ahead = (Date.parse(response.headers.get('Date')) || Date.now()) - Date.now();
    body = await response.text();
  } catch {
    throw new ApiError('The server did not answer.', { reached: false });
  }
  const answer = parsed(body);
  const error = answer?.errors?.[0];
  if (error) throw new ApiError(String(error.message), { code: String(error.extensions?.code ?? '') });
  if (!response.ok || !answer?.data) throw new ApiError(`The server answered ${response.status}.`, { reached: response.status < 500 });
  return answer.data;
}

function parsed(body) {
  try {
    return parse(body);
  } catch {
    return null;
  }
}
