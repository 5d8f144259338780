// The control that fits a type of GraphQL: a text, a number, a time, a choice, yes and no, a list, an object, or JSON.
import type { ComponentChildren } from 'preact';
import { bare, isRequired, keyOf, shownTime, type Argument, type Path, type Typed, type Types } from '../inputs';

export interface FormState { types: Types; at: ReadonlyMap<string, string>; prefix: string }
interface Properties { name: string; argument: Argument; path: Path; state: FormState; typed: Typed; set: (value: Typed) => void }

const LONG = /\b(text|message|body|html|lines?)\b/i;
const SIGNS: Record<string, string> = { Duration: 'P1DT2H30M', UUID: '00000000-0000-0000-0000-000000000000', Decimal: '12.50', JSON: 'JSON', Time: '09:30:00' };

export function TypedField(properties: Properties) {
  const { kind } = bare(properties.argument.type);
  if (kind === 'LIST') return <ListField {...properties} />;
  return kind === 'INPUT_OBJECT' ? <ObjectField {...properties} /> : <Leaf {...properties} />;
}

function ids({ path, state }: Properties) {
  const id = `send-${state.prefix}-${path.join('-')}`;
  const error = state.at.get(keyOf(path));
  return { id, error, errorId: `${id}-error`, helpId: `${id}-help` };
}

function titleOf({ name, argument }: Properties): string {
  return `${name}${isRequired(argument) ? '' : ' (optional)'}`;
}

function Leaf(properties: Properties) {
  const { argument, path } = properties;
  const { id, error, errorId, helpId } = ids(properties);
  const described = [argument.description && helpId, error && errorId].filter(Boolean).join(' ') || undefined;
  const names = { id, name: keyOf(path), 'aria-invalid': error ? true : undefined, 'aria-describedby': described, 'aria-required': isRequired(argument) || undefined } as const;
  return (
    <div class="field" data-path={keyOf(path)}>
      <label for={id}>{titleOf(properties)}</label>
      <Control {...properties} names={names} />
      {argument.description ? <p class="faint small" id={helpId}>{argument.description}</p> : null}
      <Complaint id={errorId} error={error} />
    </div>
  );
}

function Complaint({ id, error }: { id: string; error: string | undefined }) {
  return error ? <p class="error" id={id}>{error}</p> : null;
}

function Control({ argument, state, typed, set, name, names }: Properties & { names: object }) {
  const { description } = argument;
  const defaultValue = argument.defaultValue === 'null' ? null : argument.defaultValue;
  const type = bare(argument.type);
  const text = typeof typed === 'string' ? typed : '';
  const onInput = (event: { currentTarget: { value: string } }) => set(event.currentTarget.value);
  const nothing = defaultValue ? `Default: ${defaultValue}` : isRequired(argument) ? 'Choose…' : 'Leave out';
  const choice = (options: ComponentChildren) => (
    <select {...names} value={text} onInput={onInput}><option value="">{nothing}</option>{options}</select>);
  if (type.kind === 'ENUM') {
    return choice((state.types.get(type.name!)?.enumValues ?? []).map((one) => <option key={one.name} value={one.name}>{one.name}</option>));
  }
  if (type.name === 'Boolean') {
    if (isRequired(argument)) return <input {...names} type="checkbox" checked={typed === true} onInput={(event) => set(event.currentTarget.checked)} />;
    return choice([<option key="true" value="true">yes</option>, <option key="false" value="false">no</option>]);
  }
  const placeholder = defaultValue ? `Default: ${defaultValue}` : SIGNS[type.name!];
  const common = { ...names, value: text, onInput, placeholder, autocomplete: 'off' } as const;
  switch (type.name) {
    case 'Int': return <input {...common} type="number" step="1" />;
    case 'Float': return <input {...common} type="number" step="any" />;
    case 'BigInt': case 'Decimal': return <input {...common} inputMode="decimal" />;
    case 'DateTime': return <input {...common} value={shownTime(text)} type="datetime-local" step="1" />;
    case 'Date': return <input {...common} type="date" />;
    case 'Time': return <input {...common} type="time" step="1" />;
    case 'JSON': return <textarea {...common} class="mono" rows={3} spellcheck={false} />;
    case 'String': return LONG.test(`${name} ${description ?? ''}`) ? <textarea {...common} rows={2} /> : <input {...common} type="text" />;
    default: return <input {...common} type="text" spellcheck={false} />;
  }
}

function ListField(properties: Properties) {
  const { name, argument, path, state, typed, set } = properties;
  const { id, error, errorId } = ids(properties);
  const items = Array.isArray(typed) ? typed as readonly Typed[] : [];
  const of: Argument = { name, description: null, defaultValue: null, type: bare(argument.type).ofType! };
  const { defaultValue } = argument;
  const without = (index: number) => items.filter((_, place) => place !== index);
  return (
    <fieldset class="field" data-path={keyOf(path)} aria-describedby={error ? errorId : undefined}>
      <legend>{titleOf(properties)}</legend>
      {argument.description ? <p class="faint small">{argument.description}</p> : null}
      {items.map((item, index) => (
        <div class="item" key={index}>
          <TypedField name={`${name} ${index + 1}`} argument={of} path={[...path, index]} state={state} typed={item}
            set={(value) => set(items.map((one, place) => (place === index ? value : one)))} />
          <button type="button" class="quiet" aria-label={`Remove ${name} ${index + 1}`} onClick={() => set(items.length > 1 ? without(index) : undefined)}>Remove</button>
        </div>
      ))}
      {typed === undefined && defaultValue && defaultValue !== 'null' ? <p class="faint small">{`Default: ${defaultValue}`}</p> : null}
      <button type="button" id={id} onClick={() => set([...items, undefined])}>{items.length ? 'Add another' : 'Add one'}</button>
      <Complaint id={errorId} error={error} />
    </fieldset>
  );
}

function ObjectField(properties: Properties) {
  const { argument, path, state, typed, set } = properties;
  const { error, errorId } = ids(properties);
  const given = typed !== undefined || isRequired(argument);
  const values = (typed ?? {}) as { readonly [name: string]: Typed };
  return (
    <fieldset class="field" data-path={keyOf(path)} aria-describedby={error ? errorId : undefined}>
      <legend>{titleOf(properties)}</legend>
      {argument.description ? <p class="faint small">{argument.description}</p> : null}
      {given ? (state.types.get(bare(argument.type).name!)?.inputFields ?? []).map((field) => (
        <TypedField key={field.name} name={field.name} argument={field} path={[...path, field.name]} state={state}
          typed={values[field.name]} set={(value) => set({ ...values, [field.name]: value })} />
      )) : null}
      {isRequired(argument) ? null
        : <button type="button" class={given ? 'quiet' : ''} onClick={() => set(given ? undefined : {})}>{given ? 'Leave out' : 'Fill in'}</button>}
      <Complaint id={errorId} error={error} />
    </fieldset>
  );
}
