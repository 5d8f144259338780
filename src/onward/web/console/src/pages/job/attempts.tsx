// The attempts of a job, the latest first.
import { Table } from '../../components/Table';
import { Time } from '../../components/Time';
import { between, length } from '../../format';
import type { Whole } from '../../generated/job';

export function Attempts({ rows }: { rows: Whole['attempts'] }) {
  return (
    <Table
      label="Attempts" kind="attempts" rows={[...rows].sort((a, b) => b.number - a.number)} rowKey={({ number }) => String(number)}
      rowProps={({ error }) => ({ 'data-error': error ? '' : undefined })}
      columns={[
        {
          name: 'number', head: 'No.', width: 8, cell: ({ number, charged }) => (
            <>{number}{charged ? null : <span class="tag" title="This attempt does not count towards the limit">not charged</span>}</>
          ),
        },
        { name: 'started', head: 'Started', width: 8, cell: ({ startedAt }) => <Time at={startedAt} /> },
        { name: 'took', head: 'Took', width: 7, cell: ({ startedAt, finishedAt }) => (finishedAt ? length(between(startedAt, finishedAt)) : '') },
        { name: 'backend', head: 'Backend', width: 8, cell: ({ backend }) => backend },
        { name: 'worker', head: 'Worker', width: 14, cell: ({ worker }) => worker },
        {
          name: 'outcome', head: 'Outcome', cell: ({ error, finishedAt }) => (
            <span>{error ? <><b class="mono">{error.code}</b> {error.message}</> : finishedAt ? 'ended without error' : 'runs'}</span>
          ),
        },
      ]}
    />
  );
}
