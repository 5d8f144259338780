import { useEffect, useState } from 'preact/hooks';
import { serverNow } from '../graphql';
import { ago, fully, length, moment } from '../format';

// A time. `relative`: "3 min. ago", kept up to date; the exact time on hover. Otherwise the clock, or the date.
export function Time({ at, relative = false }: { at: string; relative?: boolean }) {
  const [, tick] = useState(0);
  useEffect(() => {
    if (!relative) return undefined;
    const timer = setInterval(() => { if (!document.hidden) tick((now) => now + 1); }, 10_000);
    return () => clearInterval(timer);
  }, [relative]);
  return <time dateTime={at} title={fully(at)}>{relative ? ago(at, serverNow()) : moment(at)}</time>;
}

// A length of time in milliseconds.
export function Duration({ ms }: { ms: number }) {
  return <span class="duration">{length(ms)}</span>;
}
