// The most frequent errors of the time.
import { Table } from '../../components/Table';
import { Time } from '../../components/Time';
import { FURTHER, isFurther } from '../../failures';
import { count, plural } from '../../format';
import type { Errors } from '../../generated/overview';
import type { Range } from '../../range';
import { href } from '../../route';

const SHOWN = 5;

export function Failed({ rows, range }: { rows: Errors['failures']; range: Range }) {
  return (
    <section class="card" aria-labelledby="failed">
      <h2 id="failed">{`Errors of the last ${range.name}`}</h2>
      {rows.length ? (
        <>
          <Table
            label="The most frequent errors" rows={rows.slice(0, SHOWN)} rowKey={(row) => JSON.stringify([row.handler, row.code, row.message])}
            columns={[
              { name: 'error', head: 'Error', cell: (row) => <ErrorCell row={row} /> },
              { name: 'count', head: 'Failures', width: 6, numeric: true, cell: (row) => count(row.count) },
              { name: 'last', head: 'Last', width: 7, numeric: true, cell: (row) => <Time at={row.lastAt} relative /> },
            ]}
          />
          {rows.length > SHOWN ? <p class="faint small">{`and ${plural(rows.length - SHOWN, 'more error')}`}</p> : null}
        </>
      ) : <p class="faint">No job has failed.</p>}
    </section>
  );
}

function ErrorCell({ row }: { row: Errors['failures'][number] }) {
  const { handler, code, message } = row;
  if (isFurther(row)) return <><b>{handler}</b><br /><span class="small">{FURTHER}</span></>;
  return (
    <>
      <a class="mono" href={href('jobs', { status: 'FAILED', handler, code })}>{code}</a>
      <span class="faint"> {handler}</span><br /><span class="small">{message}</span>
    </>
  );
}
