// A value that components follow.
import { useEffect, useState } from 'preact/hooks';

export class Store<Value> {
  #listeners = new Set<(value: Value) => void>();

  constructor(private current: Value) {}

  get value(): Value { return this.current; }

  set(value: Value): void {
    if (Object.is(value, this.current)) return;
    this.current = value;
    for (const listener of [...this.#listeners]) listener(value);
  }

  // Gives a way to stop.
  listen(listener: (value: Value) => void): () => void {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }
}

export function useStore<Value>(store: Store<Value>): Value {
  const [value, setValue] = useState(store.value);
  useEffect(() => {
    setValue(() => store.value);
    return store.listen((changed) => setValue(() => changed));
  }, [store]);
  return value;
}
