// A form made from the JSON Schema of a signal's payload: texts, numbers, yes and no, choices; anything else as JSON.
import { useRef, useState } from 'preact/hooks';
import type { UserError } from '../graphql';
import { fieldsOf, INVALID, invalidInputs, optionsOf, payloadOf, textOf, type Field, type JsonSchema } from '../../../static/shared/schema.js';

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
    const invalid = invalidInputs(form.current!);
    if (invalid.length) {
      setErrors(new Map(invalid.map((name) => [name, INVALID])));
      setSaid('');
      return;
    }
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

function Control({ field, error }: { field: Field; error: string }) {
  const { name, kind, required, schema } = field;
  const id = `signal-${name}`;
  const common = { id, name, 'aria-invalid': error ? 'true' as const : undefined, 'aria-describedby': error ? `${id}-error` : undefined };
  return (
    <div class="field">
      <label for={id}>{schema.title ?? name}{required ? '' : ' (optional)'}</label>
      {kind === 'choice' ? (
        <select {...common}>
          {optionsOf(field).map(({ value, words, selected }) => <option key={value} value={value} selected={selected}>{words}</option>)}
        </select>
      ) : kind === 'json' ? (
        <textarea {...common} rows={3} spellcheck={false} placeholder="JSON" defaultValue={textOf(field)} />
      ) : kind === 'checkbox' ? (
        <input {...common} type="checkbox" defaultChecked={schema.default === true} />
      ) : kind === 'number' ? (
        <input {...common} type="number" step={schema.type === 'integer' ? 1 : 'any'} min={schema.minimum} max={schema.maximum} defaultValue={textOf(field)} />
      ) : kind === 'date' ? (
        <input {...common} type="date" defaultValue={textOf(field)} />
      ) : (
        <input {...common} type="text" maxLength={schema.maxLength} defaultValue={textOf(field)} autocomplete="off" />
      )}
      {schema.description ? <p class="faint small">{schema.description}</p> : null}
      <p class="error" id={`${id}-error`} hidden={!error}>{error}</p>
    </div>
  );
}
