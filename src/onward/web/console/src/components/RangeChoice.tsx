import { RANGES, useRange, withSearch } from '../range';
import { useRoute } from '../route';

// Links to the same page for an hour, a day and a week.
export function RangeChoice() {
  const { path, search } = useRoute();
  const { name } = useRange();
  return (
    <nav class="choice" aria-label="Time">
      {RANGES.map((one) => (
        <a key={one} href={withSearch(path.join('/'), search, { range: one })} aria-current={one === name ? 'true' : undefined}>{`Last ${one}`}</a>
      ))}
    </nav>
  );
}
