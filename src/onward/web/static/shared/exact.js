// JSON whose whole numbers keep every digit: JavaScript's own reader rounds those beyond 2^53.

class Digits {
  /** @param {string} source */
  constructor(source) { this.source = source; }
  // JSON.rawJSON writes the digits as they are; a browser that lacks it lacks `source` too, and never gets here.
  /** @returns {unknown} */
  toJSON() { return JSON.rawJSON(this.source); }
  toString() { return this.source; }
}

/** @type {(key: string, value: unknown, context?: { source?: string }) => unknown} */
export function exactly(_key, value, context) {
  return typeof value === 'number' && context?.source && !Number.isSafeInteger(value) && /^-?\d+$/.test(context.source)
    ? new Digits(context.source) : value;
}

// Raises SyntaxError, as JSON.parse does.
/** @type {(text: string) => unknown} */
export const parse = (text) => JSON.parse(text, exactly);
