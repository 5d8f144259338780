import { word } from '../status';

// A sign of its own and the word: never the colour alone.
export function StatusMark({ status }: { status: string }) {
  return <span class="status" data-status={status}>{word(status)}</span>;
}
