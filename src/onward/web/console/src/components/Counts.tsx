// The number of jobs in each state, as links to them.
import { count } from '../format';
import { STATUSES, type Status } from '../status';
import { useSystem } from '../viewer';
import { StatusMark } from './StatusMark';

interface Properties {
  address: (status: Status) => string;
  chosen?: readonly string[]; // states whose links are pressed
}

export function Counts({ address, chosen }: Properties) {
  const counts = new Map(useSystem()?.counts.map(({ status, count: number }) => [status, number]));
  return (
    <ul class="counts" id="counts" aria-label="Jobs by status">
      {STATUSES.map((status) => (
        <li key={status}>
          <a href={address(status)} data-none={counts.get(status) ? undefined : ''} aria-current={chosen?.includes(status) ? 'true' : undefined}>
            <b>{counts.size ? count(counts.get(status) ?? 0) : '–'}</b><StatusMark status={status} />
          </a>
        </li>
      ))}
    </ul>
  );
}
