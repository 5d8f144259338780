import { useJob } from 'onward-client/react';
import { graphql } from './made';

const Watch = graphql(`subscription Watch($id: ID!) { jobUpdated(id: $id) { id version status done } }`);

export function Confirmation({ job }: { job: string }) {
  const { job: live, error } = useJob(job, Watch);
  if (error) return <output>{error.message}</output>;
  return <output>{live?.done ? (live.status === 'SUCCEEDED' ? 'Confirmed' : 'Not confirmed') : 'Being confirmed'}</output>;
}
