// JSON whose whole numbers keep every digit: JavaScript's own reader rounds those beyond 2^53.

interface Source { source?: string }
interface RawJson { rawJSON(text: string): unknown }

class Digits {
  constructor(private readonly source: string) {}
  // JSON.rawJSON writes the digits as they are; a browser that lacks it lacks `source` too, and never gets here.
  toJSON(): unknown { return (JSON as unknown as RawJson).rawJSON(this.source); }
}

export function exactly(_key: string, value: unknown, context?: Source): unknown {
  return typeof value === 'number' && context?.source && !Number.isSafeInteger(value) && /^-?\d+$/.test(context.source)
    ? new Digits(context.source) : value;
}

// Raises SyntaxError, as JSON.parse does.
export const parse = (text: string): unknown => JSON.parse(text, exactly);
