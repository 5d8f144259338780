import { useJob } from 'onward-client/react';
import { graphql } from './made';
import type { JobStatus } from './made/graphql';

const Watch = graphql(`
  subscription Watch($id: ID!) {
    jobUpdated(id: $id) {
      id
      version
      status
      done
      waitingFor
      attempts { number }
      error { message }
    }
  }
`);

const WORDS: Record<JobStatus, string> = {
  SCHEDULED: 'Scheduled',
  QUEUED: 'Waiting',
  RUNNING: 'Being sent',
  RETRYING: 'Will be tried again',
  WAITING: 'Waits for an answer',
  CANCELLING: 'Being cancelled',
  SUCCEEDED: 'Sent',
  FAILED: 'Failed',
  CANCELLED: 'Cancelled',
};

export function JobCard({ id, username }: { id: string; username: string }) {
  const { job, error } = useJob(id, Watch);

  return (
    <li className="job" data-status={job?.status ?? 'QUEUED'}>
      <div className="head">
        <strong>{username}</strong>
        <span role="status" className="status">
          {job ? WORDS[job.status] : 'Accepted'}
        </span>
      </div>
      {!job?.done && <progress aria-label={`Letter to ${username}`} />}
      {job?.error && (
        <p className="problem">
          {job.error.message} {job.attempts.length > 1 && `(${job.attempts.length} attempts)`}
        </p>
      )}
      {job?.waitingFor && <p className="note">It waits for {job.waitingFor}.</p>}
      {error && <p className="problem">{error.message}</p>}
      <code>{id}</code>
    </li>
  );
}
