// The waiting jobs, by handler and backend, and whether the backends can be reached.
import { Answer } from '../../components/Answer';
import { Table } from '../../components/Table';
import { count, length, plural } from '../../format';
import { waiting } from '../../generated/overview';
import { serverNow } from '../../graphql';
import { oldestFirst } from '../../handlers';
import { useQuery } from '../../hooks';
import { href } from '../../route';
import { useSystem } from '../../viewer';

const LOOK_MS = 5_000;
const SHOWN = 8;

export function Waiting({ handler }: { handler: string }) {
  const asked = useQuery(waiting, {}, LOOK_MS);
  return (
    <section class="card" aria-labelledby="waiting">
      <h2 id="waiting">Waiting now</h2>
      <Backends />
      <Answer of={asked}>
        {({ system }) => {
          const rows = oldestFirst(system.waiting.filter((row) => !handler || row.handler === handler));
          return rows.length ? (
            <>
              <Table
                label="Waiting jobs by handler" rows={rows.slice(0, SHOWN)} rowKey={(row) => `${row.handler} ${row.backend} ${row.queue}`}
                columns={[
                  { name: 'handler', head: 'Handler', cell: (row) => <a href={href('jobs', { handler: row.handler, status: 'QUEUED' })}>{row.handler}</a> },
                  { name: 'backend', head: 'Backend', width: 9, away: true, cell: (row) => (row.queue === 'default' ? row.backend : `${row.backend}, ${row.queue}`) },
                  { name: 'depth', head: 'Waiting', width: 5, numeric: true, cell: (row) => count(row.depth) },
                  { name: 'blocked', head: 'Held back', width: 6, numeric: true, cell: (row) => count(row.blocked) },
                  { name: 'oldest', head: 'Oldest for', width: 7, numeric: true, cell: (row) => (row.oldestAt ? length(serverNow() - Date.parse(row.oldestAt)) : '') },
                ]}
              />
              {rows.length > SHOWN ? <p class="faint small">{`and ${plural(rows.length - SHOWN, 'more queue')}`}</p> : null}
            </>
          ) : <p class="faint">No job waits for a worker.</p>;
        }}
      </Answer>
    </section>
  );
}

export function Backends() {
  const system = useSystem();
  return (
    <ul class="backends">
      {system?.queues.map(({ backend, queue, reachable, depth, oldestAgeMs }) => (
        <li key={`${backend} ${queue}`}>
          <b>{queue === 'default' ? backend : `${backend}, queue ${queue}`}</b>
          {backend === system.backend && queue === 'default' ? <span class="tag">default</span> : null}
          {' '}
          <span class="reach" data-ok={reachable ? 'yes' : 'no'}>{reachable ? 'reachable' : 'not reachable'}</span>
          <span class="faint">
            {depth === null ? ', depth unknown' : depth === 0 ? ', no job waits for a worker' : `, ${plural(depth, 'job')} waiting`}
            {oldestAgeMs ? `, the oldest for ${length(oldestAgeMs)}` : ''}
          </span>
        </li>
      ))}
    </ul>
  );
}
