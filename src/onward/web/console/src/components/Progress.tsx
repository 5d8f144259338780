// Without a total it only says that work goes on.
export function Progress({ completed, total, label = 'Progress' }: { completed: number; total?: number | null; label?: string }) {
  return total
    ? <progress aria-label={label} max={total} value={Math.min(completed, total)} />
    : <progress aria-label={label} />;
}
