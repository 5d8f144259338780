// The jobs that this one's handler has dispatched.
import { StatusMark } from '../../components/StatusMark';
import { Table } from '../../components/Table';
import { children } from '../../generated/job';
import { useQuery } from '../../hooks';
import { toJob } from '../../route';
import { note, took } from '../jobs/note';

const LOOK_MS = 4_000;

export function Children({ id }: { id: string }) {
  const { data } = useQuery(children, { id }, LOOK_MS);
  const found = data?.job?.children;
  if (!found?.nodes.length) return null;
  return (
    <section class="card" aria-labelledby="children-title">
      <h2 id="children-title">Dispatched jobs</h2>
      <Table
        label="Dispatched jobs" rows={found.nodes} rowKey={(job) => job.id}
        columns={[
          { name: 'status', head: 'Status', width: 8, cell: ({ status }) => <StatusMark status={status} /> },
          { name: 'handler', head: 'Handler', width: 14, cell: (job) => <a href={toJob(job.id)}>{job.handler}</a> },
          { name: 'note', head: 'Note', cell: (job) => note(job) },
          { name: 'took', head: 'Took', width: 7, cell: took },
        ]}
      />
      {found.pageInfo.hasNextPage ? <p class="faint small">These are the newest {found.nodes.length}.</p> : null}
    </section>
  );
}
