// What the handler of a job and Onward have logged while it ran, the oldest line first.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { exactly, fully, moment, plural, visible } from '../../format';
import { jobLog, type JobLog, type LogLevel, type Whole } from '../../generated/job';
import { useQuery } from '../../hooks';
import { TERMINAL, word } from '../../status';

const AGAIN_MS = 2_000; // the lines of a step that runs on are there after a second
const SOME = 200;
const MOST = 1_000; // that are kept of a job
const LEVELS: readonly LogLevel[] = ['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'];

export function Log({ job }: { job: Whole }) {
  const [last, setLast] = useState(SOME);
  const [least, setLeast] = useState<LogLevel>('DEBUG');
  const box = useRef<HTMLOListElement>(null);
  const atEnd = useRef(true); // who has scrolled up goes on reading there
  const { data, refresh } = useQuery(jobLog, { id: job.id, last }, TERMINAL.has(job.status) ? 0 : AGAIN_MS);
  const asked = useRef(job.version);
  useEffect(() => {
    if (asked.current !== job.version) refresh();
    asked.current = job.version;
  }, [job.version]);
  const lines = data?.job?.logLines ?? [];
  const shown = lines.filter(({ level }) => LEVELS.indexOf(level) >= LEVELS.indexOf(least));
  useLayoutEffect(() => {
    if (box.current && atEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines.at(-1)?.time, lines.length, least]);
  if (!lines.length) return null;
  const attempts = new Set(lines.map(({ attempt }) => attempt)).size > 1;
  return (
    <section class="card log" aria-labelledby="log-title">
      <div class="bar">
        <h2 id="log-title">Log</h2>
        <div class="choices">
          {lines.length === last && last < MOST ? <button type="button" onClick={() => { atEnd.current = false; setLast(MOST); }}>Older lines</button> : null}
          <label>Level <select value={least} onChange={({ currentTarget }) => setLeast(currentTarget.value as LogLevel)}>
            {LEVELS.slice(0, -1).map((level, at) => <option key={level} value={level}>{at ? `${word(level)} and above` : 'All'}</option>)}
          </select></label>
        </div>
      </div>
      <ol
        ref={box} class="mono" tabIndex={0} aria-label={`Log, ${plural(shown.length, 'line')}`}
        onScroll={({ currentTarget: at }) => { atEnd.current = at.scrollHeight - at.scrollTop - at.clientHeight < 40; }}
      >
        {shown.map((line, at) => (
          <Line key={`${line.attempt} ${line.time} ${at}`} line={line} before={shown[at - 1]} attempts={attempts} steps={job.steps.length > 1} />
        ))}
      </ol>
      {shown.length ? null : <p class="faint">No line of this level.</p>}
    </section>
  );
}

type LogLine = NonNullable<NonNullable<JobLog['job']>['logLines']>[number];

function Line({ line, before, attempts, steps }: { line: LogLine; before: LogLine | undefined; attempts: boolean; steps: boolean }) {
  const anew = attempts && line.attempt !== before?.attempt ? `Attempt ${line.attempt}` : '';
  const day = dayOf(line.time);
  const heading = [anew, day === (before ? dayOf(before.time) : dayOf(new Date().toISOString())) ? '' : moment(line.time)].filter(Boolean).join(', ');
  return (
    <>
      {heading ? <li class="heading">{heading}</li> : null}
      <li data-level={line.level}>
        <time dateTime={line.time} title={fully(line.time)}>{exactly(line.time)}</time>
        <b>{word(line.level)}</b>
        {steps ? <span class="faint">{visible(line.step)}</span> : null}
        <span class="text">{visible(line.text)}</span>
      </li>
    </>
  );
}

const dayOf = (iso: string): string => new Date(iso).toDateString();
