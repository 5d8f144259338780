// The answer to a question: nothing for 300 ms, then "Loading", then its data; an error with a button that asks again.
import type { ComponentChildren } from 'preact';
import type { Asked } from '../hooks';

export function Answer<Data>({ of, children }: { of: Asked<Data>; children: (data: Data) => ComponentChildren }) {
  const { data, error, slow, refresh } = of;
  return (
    <>
      {error ? (
        <div class="callout failed" role="alert" data-error="">
          <p>{error.message}</p>
          <button type="button" onClick={refresh}>Ask again</button>
        </div>
      ) : null}
      {data ? children(data) : slow && !error ? <p class="faint loading" role="status">Loading…</p> : null}
    </>
  );
}
