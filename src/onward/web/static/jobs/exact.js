// JSON whose whole numbers keep every digit: JavaScript's own reader rounds those beyond 2^53.

class Digits {
  constructor(source) { this.source = source; }
  // JSON.rawJSON writes the digits as they are; a browser that lacks it lacks `source` too, and never gets here.
  toJSON() { return JSON.rawJSON(this.source); }
}

// Raises SyntaxError, as JSON.parse does.
export function parse(text) {
  return JSON.parse(text, (_key, value, context) => (
    typeof value === 'number' && context?.source && !Number.isSafeInteger(value) && /^-?\d+$/.test(context.source)
      ? new Digits(context.source) : value));
}
