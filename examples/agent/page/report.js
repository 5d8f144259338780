// A report is asked for, read while it is written, approved, and sent. Everything is in the ledger: after a reload, or with
// another server, the page goes on from the job's id in its address.

const ask = document.querySelector('#ask');
const approve = document.querySelector('#approve');
const say = (text) => { document.querySelector('#said').textContent = text; };
const CANCELLED = 'The report was cancelled.'; // as somebody may in the console, at any moment

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function post(accept, query, variables) {
  const headers = { 'content-type': 'application/json', accept };
  return fetch('graphql', { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
}

// One answer; while the server is away it is asked again, which the idempotency key of a mutation makes safe.
async function answer(query, variables) {
  for (;;) {
    try {
      const { data, errors } = await (await post('application/json', query, variables)).json();
      if (errors) throw new Error(errors[0].message);
      return data;
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
      await wait(300);
    }
  }
}

// The values of a subscription, until it completes; where the stream breaks, it goes on with the variables of then.
async function* stream(query, variables) {
  for (let complete = false; !complete; await wait(complete ? 0 : 300)) {
    try {
      let text = '';
      for await (const chunk of (await post('text/event-stream', query, variables())).body.pipeThrough(new TextDecoderStream())) {
        const events = (text + chunk).split('\n\n');
        text = events.pop();
        for (const event of events) {
          const data = event.match(/^data: ?(.*)$/m)?.[1];
          if (/^event: ?complete$/m.test(event)) complete = true;
          else if (data) yield JSON.parse(data).data;
        }
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the server is away
    }
  }
}

async function follow(id, seen = () => {}) {
  let job;
  for await (const { jobUpdated } of stream(
    'subscription($id: ID!) { jobUpdated(id: $id) { id status done result wait { name } error { message } } }', () => ({ id }),
  )) seen(job = jobUpdated);
  return job;
}

async function read(id, title) {
  const article = document.querySelector('#sections').appendChild(document.createElement('article'));
  article.setAttribute('aria-label', title);
  let after = null;
  let attempt = 0;
  for await (const { jobOutput: chunk } of stream(
    'subscription($id: ID!, $after: Int) { jobOutput(id: $id, after: $after) { offset attempt data } }', () => ({ id, after }),
  )) {
    after = chunk.offset;
    if (chunk.attempt !== attempt) article.textContent = ''; // the draft has begun anew
    attempt = chunk.attempt;
    article.textContent += chunk.data;
  }
}

async function show(id) {
  say('The report is being written.');
  const { result: batch, error } = await follow(id);
  if (!batch) return say(error?.message ?? CANCELLED);
  const { job } = await answer('query($id: ID!) { job(id: $id) { children { nodes { id handler } } } }', { id });
  const drafts = job.children.nodes.filter((one) => one.handler === 'reports.draft');
  drafts.reverse().forEach((one, index) => read(one.id, `Section ${index + 1}`));
  let then;
  for await (const { batchUpdated: { counts, total, then: next } } of stream(
    'subscription($id: ID!) { batchUpdated(id: $id) { total counts { status count } then { id } } }', () => ({ id: batch }),
  )) {
    say(`${counts.find((one) => one.status === 'SUCCEEDED')?.count ?? 0} of ${total} sections are written.`);
    then = next?.id;
  }
  if (!then) return say(CANCELLED);
  const end = await follow(then, ({ wait: awaited }) => {
    approve.dataset.job = then;
    approve.hidden = awaited?.name !== 'approval';
    if (awaited) say('Please read the report, and decide.');
  });
  return say(end.error?.message ?? end.result ?? CANCELLED);
}

ask.addEventListener('submit', async (event) => {
  event.preventDefault();
  const { topic, email } = Object.fromEntries(new FormData(ask));
  const key = crypto.getRandomValues(new Uint32Array(4)).join('-');
  const { reportsWrite: { job, errors } } = await answer(
    'mutation($input: ReportsWriteInput!) { reportsWrite(input: $input) { job { id } errors { message } } }',
    { input: { topic, email, idempotencyKey: key } },
  );
  if (!job) return say(errors[0].message);
  location.hash = job.id;
  return location.reload();
});

approve.addEventListener('submit', async (event) => {
  event.preventDefault();
  const payload = { approved: event.submitter.value === 'yes', comment: approve.elements.comment.value };
  const { signalJob: { errors } } = await answer(
    'mutation($input: SignalJobInput!) { signalJob(input: $input) { errors { message } } }',
    { input: { id: approve.dataset.job, name: 'approval', payload } },
  );
  if (errors.length) say(errors[0].message);
});

if (location.hash) show(location.hash.slice(1));
