// A small row of bars without axes; `label` says the same in words.
const WIDTH = 120;
const HEIGHT = 24;

export function Sparkline({ values, label, tone = 'accent' }: { values: readonly number[]; label: string; tone?: Tone }) {
  const most = Math.max(1, ...values);
  const slot = WIDTH / Math.max(1, values.length);
  return (
    <svg class={`sparkline of-${tone}`} role="img" aria-label={label} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none">
      <line x1="0" x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
      {values.map((value, index) => {
        const height = value ? Math.max(2, (value / most) * (HEIGHT - 1)) : 0;
        return height ? <rect key={index} x={index * slot + slot * 0.1} width={slot * 0.8} y={HEIGHT - height} height={height} /> : null;
      })}
    </svg>
  );
}

export type Tone = 'accent' | 'soft' | 'good' | 'bad' | 'warn' | 'faint';
