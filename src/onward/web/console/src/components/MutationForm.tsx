// The form of one mutation. Errors of its answer are shown at their fields.
import { useRef, useState } from 'preact/hooks';
import { askText, type ApiError, type UserError } from '../graphql';
import { announce } from '../notices';
import { documentOf, isKeyed, keyOf, placed, shownFields, typedOf, variablesOf, type Path, type Sender, type Types } from '../inputs';
import { INVALID, invalidInputs } from '../../../static/shared/schema.js';
import { TypedField, type FormState } from './TypedField';

const AGAIN = 'Send again: it is accepted once at most.';
const LOOK = 'It may have been accepted: look at the jobs before you send it again.';

interface Payload { job: { id: string; handler: string } | null; replayed?: boolean; errors?: readonly UserError[] }

interface Properties {
  sender: Sender;
  types: Types;
  accepted: (id: string) => void;
  filled?: { readonly [name: string]: unknown }; // an input to begin with
}

export function MutationForm({ sender, types, accepted, filled = {} }: Properties) {
  const [typed, setTyped] = useState(() => typedOf(sender.fields, filled, types));
  const [at, setAt] = useState<ReadonlyMap<string, string>>(new Map());
  const [said, setSaid] = useState('');
  const [sending, setSending] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const key = useRef<string | null>(null); // one for one wish: kept while it is not known whether the server has it

  const complain = (errors: readonly { message: string; path?: readonly string[] | null }[]) => {
    const fields = new Set([...form.current!.querySelectorAll<HTMLElement>('[data-path]')].map(({ dataset }) => dataset.path!));
    const found = placed(errors, fields);
    setAt(found.at);
    setSaid(found.left.join(' '));
    const [first] = found.at.keys();
    if (first !== undefined) form.current!.querySelector<HTMLElement>(`[data-path="${CSS.escape(first)}"] :is(input, textarea, select, button)`)?.focus();
  };

  const submit = async (event: Event) => {
    event.preventDefault();
    const invalid = invalidInputs(form.current!);
    if (invalid.length) { complain(invalid.map((name) => ({ message: INVALID, path: name.split('.') }))); return; }
    key.current ??= newKey();
    const { variables, problems } = variablesOf(sender, typed, types, key.current);
    if (problems.size) { complain([...problems].map(([path, message]) => ({ message, path: path.split('.') }))); return; }
    setSending(true);
    try {
      const answer = (await askText(documentOf(sender), variables) as Record<string, Payload | null>)[sender.name];
      const errors = answer?.errors ?? [];
      complain(errors);
      if (!errors.some(({ code }) => code === 'UNAVAILABLE')) key.current = null;
      if (answer?.job) {
        announce(`${answer.job.handler} accepted`);
        setSaid(answer.replayed ? 'Accepted before: the same job.' : errors.map(({ message }) => message).join(' '));
        accepted(answer.job.id);
      } else if (!errors.length) setSaid('Accepted, without a job.');
    } catch (error) {
      const { message, code, reached } = error as ApiError;
      if (reached) key.current = null;
      if (code === 'DOCUMENT_NOT_TRUSTED') setSaid('This server answers only trusted documents, and a form makes a new one.');
      else complain([{ message: reached ? message : `${message} ${isKeyed(sender) ? AGAIN : LOOK}`, path: pathIn(message) }]);
    }
    setSending(false);
  };

  const state: FormState = { types, at, prefix: sender.name };
  const fields = shownFields(sender);
  return (
    <form ref={form} noValidate onSubmit={submit}>
      {sender.description ? <p class="faint">{sender.description}</p> : null}
      {fields.map((field) => (
        <TypedField
          key={field.name} name={field.name} argument={field} path={[field.name]} state={state} typed={typed[field.name]}
          set={(value) => { key.current = null; setTyped((known) => ({ ...known, [field.name]: value })); }}
        />
      ))}
      <div class="actions"><button class="main" disabled={sending}>Send</button></div>
      <p class="said" role="status" data-error={said && said !== 'Accepted before: the same job.' ? '' : undefined}>{said}</p>
    </form>
  );
}

// The field that GraphQL means where a variable does not fit, as in "got invalid value 'x' at 'input.items[0].count'".
function pathIn(message: string): Path & readonly string[] {
  const found = /at '(?:\$?input\.)?([\w.[\]]+)'/.exec(message)?.[1];
  return found ? keyOf(found.split(/[.[\]]+/).filter(Boolean)).split('.') : [];
}

// Not randomUUID: it is missing on plain http pages of other machines.
function newKey(): string {
  return `console-${Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
