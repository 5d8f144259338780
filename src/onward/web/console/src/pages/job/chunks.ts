// The text of a job's output.
import type { JobOutput } from '../../generated/job';

export interface Last { variables: { id: string; after: number | null }; attempts: Record<string, number>; line: boolean }

// The text that a chunk adds after the last one; `last` moves on.
export function written(last: Last, { offset, attempt, step, data }: JobOutput['jobOutput']): string {
  const { after } = last.variables;
  if (after !== null && offset <= after) return '';
  const missing = offset - (after ?? -1) - 1;
  let text = '';
  if (missing) text += `[${missing} older chunks are no longer kept]\n`;
  if ((last.attempts[step] ?? attempt) !== attempt) text += `${last.line ? '' : '\n'}[${step} again, in attempt ${attempt}]\n`;
  if (typeof data === 'string') text += data;
  else text += `${last.line || text ? '' : '\n'}${JSON.stringify(data)}\n`;
  last.variables.after = offset;
  last.attempts[step] = attempt;
  if (text) last.line = text.endsWith('\n');
  return text;
}
