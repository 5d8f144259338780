// Addresses as texts: what stands after the #.

export interface Route { path: readonly string[]; search: URLSearchParams }
type Search = Record<string, string | readonly string[] | null | undefined>;

export function parseRoute(hash: string): Route {
  const [path = '', search = ''] = hash.replace(/^#/, '').split('?', 2);
  return { path: path.split('/').filter(Boolean).map(decoded), search: new URLSearchParams(search) };
}

// href('jobs', { status: ['FAILED'] }) is "#/jobs?status=FAILED"; empty values are left out.
export function href(path: string, search: Search = {}): string {
  const asked = new URLSearchParams(Object.entries(search).flatMap(([name, value]) => (
    (typeof value === 'string' ? [value] : value ?? []).filter(Boolean).map((one) => [name, one]))));
  return `#/${path}${asked.size ? `?${asked}` : ''}`;
}

export const toJob = (id: string): string => href(`jobs/${encodeURIComponent(id)}`);

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
