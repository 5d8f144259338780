import { RANGES, useAddress, useRange } from '../range';

// Links to the same page for an hour, a day and a week.
export function RangeChoice() {
  const address = useAddress();
  const { name } = useRange();
  return (
    <nav class="choice" aria-label="Time">
      {RANGES.map((one) => (
        <a key={one} href={address({ range: one })} aria-current={one === name ? 'true' : undefined}>{`Last ${one}`}</a>
      ))}
    </nav>
  );
}
