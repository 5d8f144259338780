// A button that changes something on the server. It cannot be pressed twice at once; a refusal is said beside it.
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { UserError } from '../graphql';

interface Properties {
  label: string; // the whole of it for screen readers, as in "Pause email.welcome"
  act: () => Promise<readonly UserError[]>; // the errors of the answer; it raises ApiError without one
  children: ComponentChildren;
}

export function ActionButton({ label, act, children }: Properties) {
  const [busy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState('');
  const press = async () => {
    setBusy(true);
    setRefusal('');
    try {
      setRefusal((await act()).map(({ message }) => message).join(' '));
    } catch (error) {
      setRefusal((error as Error).message);
    }
    setBusy(false);
  };
  return (
    <div>
      <button type="button" class="quiet" aria-label={label} aria-disabled={busy} onClick={() => { if (!busy) void press(); }}>{children}</button>
      {refusal ? <span class="error refusal" role="alert">{refusal}</span> : null}
    </div>
  );
}
