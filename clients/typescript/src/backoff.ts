const FIRST_MS = 500;
const LONGEST_MS = 10_000;

/** Milliseconds to wait before the next attempt, after so many: doubled each time, and spread, so that not all come at once. */
export function delayMs(attempts: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** attempts) * (0.5 + Math.random() / 2);
}

/** Wait so long, or until the browser has a network again, or until the signal aborts. */
export function wait(ms: number, signal?: AbortSignal | null): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      clearTimeout(timer);
      globalThis.removeEventListener?.('online', go);
      signal?.removeEventListener('abort', go);
      resolve();
    };
    const timer = setTimeout(go, ms);
    globalThis.addEventListener?.('online', go);
    signal?.addEventListener('abort', go);
  });
}
