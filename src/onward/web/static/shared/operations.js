// The operations that are ready in the explorer's tabs, for the built GraphiQL and for the one from a CDN alike.

const job = `    job {
      id
      handler
      status
    }
    errors {
      code
      message
      path
    }`;

export const tabs = [
  {
    query: `# Registers a user and sends a welcome message.
# The answer comes at once; the job goes on.
# Copy its id into the tab "jobUpdated".
mutation registerUser($input: RegisterUserInput!) {
  registerUser(input: $input) {
    user {
      id
      username
    }
${job}
  }
}
`,
    variables: json({ input: { username: 'ada', email: 'ada@example.com' } }),
  },
  {
    query: `# Writes a line to the log; \`runAt\` delays it.
mutation sendNotification($input: SendNotificationInput!) {
  sendNotification(input: $input) {
${job}
  }
}
`,
    variables: json({ input: { email: 'ada@example.com', message: 'Your report is ready.' } }),
  },
  {
    query: `# An item goes through three steps.
mutation processItem($input: ProcessItemInput!) {
  processItem(input: $input) {
${job}
  }
}
`,
    variables: json({ input: { item: 'The quick brown fox jumps over the lazy dog.' } }),
  },
  {
    query: `# The job as it is, then each change.
# Its id goes below: an answer's job { id }.
subscription jobUpdated($id: ID!) {
  jobUpdated(id: $id) {
    id
    status
    version
    waitingFor
    progress {
      completed
      total
      message
    }
    steps {
      name
      status
    }
    result
    error {
      code
      message
    }
  }
}
`,
    variables: json({ id: 'job_' }),
  },
];

// With [auth] mode = "jwt": {"Authorization": "Bearer ..."}. Sent with each request, and in connection_init.
export const headers = '';

// A namespace in localStorage, so that another GraphiQL on the same address does not replace these tabs.
export function storage() {
  const name = (key) => `onward:explorer:${key}`;
  const mine = () => Object.keys(localStorage).filter((key) => key.startsWith(name('')));
  return {
    get length() { return mine().length; },
    getItem: (key) => localStorage.getItem(name(key)),
    setItem: (key, value) => localStorage.setItem(name(key), value),
    removeItem: (key) => localStorage.removeItem(name(key)),
    clear: () => mine().forEach((key) => localStorage.removeItem(key)),
  };
}

// What the editors open with: the tab that was open last, or the first. Left to itself, GraphiQL takes no more than the
// query out of the first tab, and of those it has stored what somebody has edited.
export function opened(stored) {
  let tab;
  try {
    const state = JSON.parse(stored.getItem('graphiql:tabState'));
    tab = state.tabs[state.activeTabIndex];
  } catch {
    tab = tabs[0];
  }
  return { query: tab?.query ?? undefined, variables: tab?.variables ?? undefined };
}

function json(value) {
  return JSON.stringify(value, null, 2);
}
