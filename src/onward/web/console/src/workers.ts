// The words of the page of processes.
export const ROLES: Record<string, string> = {
  worker: 'worker',
  api: 'API, and its background jobs',
  dramatiq: "worker of Dramatiq's command line",
  isolated: 'runs single jobs apart',
  unknown: 'of an older release',
};
