// What this page asks.

const ROW = 'id handler status version done backend createdAt runAt startedAt finishedAt '
  + 'progress { completed total message } error { code message }';

const WHOLE = `${ROW} queue expiresAt waitingFor maxAttempts result canCancel canRetry
  wait { name since until schema }
  error { retryable step occurredAt }
  parent { id handler }
  batch { id done total counts { status count } }
  steps { name index status startedAt finishedAt result }
  attempts { number charged backend worker startedAt finishedAt error { code message retryable step } }`;

const ERRORS = 'errors { code message path }';

export const JOB = `query job($id: ID!) { job(id: $id) { ${WHOLE} } }`;
export const JOB_UPDATED = `subscription jobUpdated($id: ID!) { jobUpdated(id: $id) { ${WHOLE} } }`;
export const JOB_OUTPUT = 'subscription jobOutput($id: ID!, $after: Int) { jobOutput(id: $id, after: $after) { offset attempt step data } }';
export const JOBS_UPDATED = `subscription jobsUpdated { jobsUpdated { ${ROW} } }`;
export const JOBS = `query jobs($first: Int, $after: String, $last: Int, $before: String, $filter: JobFilter) {
  jobs(first: $first, after: $after, last: $last, before: $before, filter: $filter) {
    nodes { ${ROW} waitingFor }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}`;
export const SYSTEM = `query system {
  system { version backend handlers queues { backend queue reachable depth oldestAgeMs } counts { status count }
    paused { handler since by }
    mailed: letters(first: 0) { id }
    schedules(first: 50) { name handler cron timeZone overlap fromSettings nextAt upcoming pausedAt pausedBy
      lastAt lastJob { id } skippedAt problem } }
  viewer { id roles }
}`;

export const SENT_EMAILS = 'query letters { system { letters { id recipient subject sentAt text } } }';

export const REGISTER_USER = `mutation registerUser($input: RegisterUserInput!) {
  registerUser(input: $input) { job { ${ROW} } replayed ${ERRORS} }
}`;
export const SEND_NOTIFICATION = `mutation sendNotification($input: SendNotificationInput!) {
  sendNotification(input: $input) { job { ${ROW} } replayed ${ERRORS} }
}`;
export const PROCESS_ITEM = `mutation processItem($input: ProcessItemInput!) {
  processItem(input: $input) { job { ${ROW} } replayed ${ERRORS} }
}`;
export const CANCEL_JOB = `mutation cancelJob($input: CancelJobInput!) { cancelJob(input: $input) { job { ${WHOLE} } ${ERRORS} } }`;
export const RETRY_JOB = `mutation retryJob($input: RetryJobInput!) { retryJob(input: $input) { job { ${WHOLE} } ${ERRORS} } }`;
export const SIGNAL_JOB = `mutation signalJob($input: SignalJobInput!) { signalJob(input: $input) { job { id } ${ERRORS} } }`;
export const RETRY_JOBS = `mutation retryJobs($input: RetryJobsInput!) { retryJobs(input: $input) { count ${ERRORS} } }`;
export const PAUSE_HANDLER = `mutation pauseHandler($input: PauseHandlerInput!) { pauseHandler(input: $input) { ${ERRORS} } }`;
export const RESUME_HANDLER = `mutation resumeHandler($input: ResumeHandlerInput!) { resumeHandler(input: $input) { ${ERRORS} } }`;
export const CREATE_SCHEDULE = `mutation createSchedule($input: CreateScheduleInput!) { createSchedule(input: $input) { ${ERRORS} } }`;
export const PAUSE_SCHEDULE = `mutation pauseSchedule($input: ScheduleNameInput!) { pauseSchedule(input: $input) { ${ERRORS} } }`;
export const RESUME_SCHEDULE = `mutation resumeSchedule($input: ScheduleNameInput!) { resumeSchedule(input: $input) { ${ERRORS} } }`;
export const RUN_SCHEDULE = `mutation runSchedule($input: ScheduleNameInput!) { runSchedule(input: $input) { ${ERRORS} } }`;
export const DELETE_SCHEDULE = `mutation deleteSchedule($input: ScheduleNameInput!) { deleteSchedule(input: $input) { ${ERRORS} } }`;
