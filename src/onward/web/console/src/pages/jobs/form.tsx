// The filter's form: what is chosen goes into the address, and the address makes the list.
import { useEffect, useRef, useState } from 'preact/hooks';
import { local } from '../../format';
import { go } from '../../route';
import { useSystem, useViewer } from '../../viewer';
import { asInput, EXAMPLE, NONE, toJobs, type Filter } from './filter';

const TYPING_MS = 350;
const LENGTH = 200;
const TIMES = [
  ['after', 'Accepted after'], ['before', 'Accepted before'], ['runAfter', 'Scheduled after'], ['runBefore', 'Scheduled before'],
  ['finishedAfter', 'Ended after'], ['finishedBefore', 'Ended before'],
] as const;
type Time = (typeof TIMES)[number][0];
const FIELDS = ['handler', 'code', 'owner', 'param', ...TIMES.map(([name]) => name)] as const;

export function FilterForm({ filter }: { filter: Filter }) {
  const system = useSystem();
  const admin = useViewer()?.admin ?? false;
  const form = useRef<HTMLFormElement>(null);
  const [open, setOpen] = useState(false); // of the fields, where it is narrow
  const set = FIELDS.filter((name) => filter[name]).length;
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const latest = useRef(filter); // it may change while somebody types
  latest.current = filter;
  const applied = useRef(''); // the address that these fields have made
  useEffect(() => () => clearTimeout(timer.current), []);
  // The fields follow the address, except the one that somebody types into, unless the address comes from elsewhere, as by Back.
  useEffect(() => {
    if (toJobs(filter) !== applied.current) applied.current = '';
    const typing = applied.current || timer.current !== undefined ? document.activeElement : null;
    for (const input of form.current?.querySelectorAll('input') ?? []) {
      const value = filter[input.name as 'handler'];
      if (input !== typing) input.value = input.type === 'datetime-local' ? local(value) : value;
    }
  }, [filter, admin]); // some fields are for admins, whom the page knows a moment later
  const apply = () => {
    clearTimeout(timer.current);
    timer.current = undefined;
    const data = new FormData(form.current!);
    const text = (name: string) => String(data.get(name) ?? '').trim();
    const time = (name: Time) => {
      const known = latest.current[name];
      if (Date.parse(text(name)) === Date.parse(local(known))) return known; // that of a link is exact to the millisecond
      return text(name) ? new Date(text(name)).toISOString() : '';
    };
    applied.current = toJobs({
      ...latest.current, handler: text('handler'), code: text('code'), owner: text('owner'), param: text('param'),
      ...Object.fromEntries(TIMES.map(([name]) => [name, time(name)])),
    });
    go(applied.current);
  };
  const typed = () => { clearTimeout(timer.current); timer.current = setTimeout(apply, TYPING_MS); };
  const text = { type: 'search', autocomplete: 'off', spellcheck: false, maxLength: LENGTH, onInput: typed } as const;
  return (
    <form ref={form} class="filters" data-open={open ? '' : undefined} role="search" aria-label="Filter jobs" onSubmit={(event) => { event.preventDefault(); apply(); }}>
      <button type="button" class="fold" aria-expanded={open} aria-controls="filter-fields" onClick={() => setOpen(!open)}>{set ? `Filter · ${set} set` : 'Filter'}</button>
      <div class="fields" id="filter-fields">
        <div class="field wide">
          <label for="filter-handler">Handler; * stands for anything</label>
          <input id="filter-handler" name="handler" placeholder="email.*" list="handler-names" {...text} />
          <datalist id="handler-names">{[...system?.handlers ?? []].sort().map((name) => <option key={name} value={name} />)}</datalist>
        </div>
        <div class="field"><label for="filter-code">Error code</label><input id="filter-code" name="code" placeholder="TIMEOUT" {...text} /></div>
        {admin ? <div class="field"><label for="filter-owner">Owner</label><input id="filter-owner" name="owner" placeholder="a viewer's id" {...text} /></div> : null}
        {admin ? <div class="field wide"><label for="filter-param">Parameter and value</label><input id="filter-param" name="param" placeholder={EXAMPLE} {...text} maxLength={1_000} /></div> : null}
        {TIMES.map(([name, label]) => (
          <div key={name} class="field"><label for={`filter-${name}`}>{label}</label><input id={`filter-${name}`} name={name} type="datetime-local" step="1" onChange={apply} /></div>
        ))}
      </div>
      <Conditions filter={filter} />
      <button type="button" class="quiet" hidden={!asInput(filter) && !filter.param} onClick={() => go(toJobs(NONE))}>Clear</button>
    </form>
  );
}

// Conditions without a control of their own, which links of other pages set: each can be taken away.
function Conditions({ filter }: { filter: Filter }) {
  const shown: [name: keyof Filter, words: string][] = [
    ['message', filter.message && `Error: ${filter.message}`],
    ['batch', filter.batch && `Batch ${filter.batch}`],
  ];
  return (
    <>
      {shown.filter(([, words]) => words).map(([name, words]) => (
        <p key={name} class="chip">{words} <a href={toJobs({ ...filter, [name]: '' })} aria-label={`Without: ${words}`}>✕</a></p>
      ))}
    </>
  );
}
