// A form made from the JSON Schema of a signal's payload: texts, numbers, yes and no, choices; anything else as JSON.
import { useRef, useState } from 'preact/hooks';
import type { UserError } from '../graphql';
import { fieldsOf, payloadOf, type Field, type JsonSchema } from '../pages/job/schema';

interface Properties {
  schema: JsonSchema;
  send: (payload: unknown) => Promise<readonly UserError[]>; // the errors of the answer: none once it is accepted
}

export function SchemaForm({ schema, send }: Properties) {
  const form = useRef<HTMLFormElement>(null);
  const [errors, setErrors] = useState<ReadonlyMap<string, string>>(new Map());
  const [said, setSaid] = useState('');
  const [busy, setBusy] = useState(false);
  const made = fieldsOf(schema);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    const data = new FormData(form.current!);
    const found = await send(payloadOf(made, (name) => String(data.get(name) ?? ''))).catch((error: Error) => [{ code: '', message: error.message }]);
    const placed = new Map<string, string>();
    const unplaced = found.filter((error) => {
      const name = placeOf(made, error);
      if (name) placed.set(name, error.message);
      return !name;
    });
    setErrors(placed);
    setSaid(unplaced.map(({ message }) => message).join(' '));
    setBusy(false);
  };
  return (
    <form ref={form} noValidate onSubmit={submit}>
      {made.fields.map((field) => <Control key={field.name} field={field} error={errors.get(field.name) ?? ''} />)}
      <div class="actions"><button class="main" disabled={busy}>Send</button></div>
      <p class="said" role="status" data-error={said ? '' : undefined}>{said}</p>
    </form>
  );
}

// An error's path is ["payload", "approved", ...]; that of a payload without fields is ["payload"].
function placeOf({ fields }: { fields: readonly Field[] }, { path }: UserError): string | null {
  if (path?.[0] !== 'payload') return null;
  return fields.find(({ name }) => name === path[1])?.name ?? (fields.length === 1 ? fields[0]!.name : null);
}

function Control({ field: { name, kind, required, schema }, error }: { field: Field; error: string }) {
  const id = `signal-${name}`;
  const common = { id, name, 'aria-invalid': error ? 'true' as const : undefined, 'aria-describedby': error ? `${id}-error` : undefined };
  return (
    <div class="field">
      <label for={id}>{schema.title ?? name}{required ? '' : ' (optional)'}</label>
      {kind === 'choice' ? (
        <select {...common}>
          {schema.default === undefined ? <option value="">Choose…</option> : null}
          {schema.enum!.map((choice, index) => <option key={index} value={String(index)} selected={choice === schema.default}>{String(choice)}</option>)}
        </select>
      ) : kind === 'json' ? (
        <textarea {...common} rows={3} spellcheck={false} placeholder="JSON" defaultValue={schema.default === undefined ? '' : JSON.stringify(schema.default)} />
      ) : kind === 'checkbox' ? (
        <input {...common} type="checkbox" defaultChecked={schema.default === true} />
      ) : kind === 'number' ? (
        <input {...common} type="number" step={schema.type === 'integer' ? 1 : 'any'} min={schema.minimum} max={schema.maximum} defaultValue={text(schema.default)} />
      ) : kind === 'date' ? (
        <input {...common} type="date" defaultValue={text(schema.default)} />
      ) : (
        <input {...common} type="text" maxLength={schema.maxLength} defaultValue={text(schema.default)} autocomplete="off" />
      )}
      {schema.description ? <p class="faint small">{schema.description}</p> : null}
      <p class="error" id={`${id}-error`} hidden={!error}>{error}</p>
    </div>
  );
}

const text = (value: unknown): string => (value === undefined || value === null ? '' : String(value));
