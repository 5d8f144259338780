// Lines over time. The legend gives the sum or the last value of each, and the values under the pointer or the arrow keys.
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { marks, moment } from '../format';
import type { Tone } from './Sparkline';

export interface Series {
  name: string;
  tone: Tone;
  values: readonly (number | null)[];
  filled?: boolean;
  shown: string; // what the legend says while nothing is pointed at
}

interface Properties {
  label: string; // what the chart shows, in words, for who does not see it
  at: readonly number[]; // the begin of each point, in seconds since 1970
  series: readonly Series[];
  format: (value: number) => string;
  stepped?: boolean; // for counts, which are of a whole span
}

const HEIGHT = 180;
const MARKED = 30; // so few values are marked: one without neighbours has no line

export function Chart({ label, at, series, format, stepped = false }: Properties) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const shownFormat = useRef(format);
  shownFormat.current = format;
  const [index, setIndex] = useState<number | null>(null);
  const shape = series.map(({ name, tone, filled }) => `${name} ${tone} ${filled}`).join();

  useEffect(() => {
    const element = place.current!;
    // A canvas does not know light-dark(): the browser resolves it for an element.
    const tone = (name: string) => () => resolved(element, name);
    const axis = { stroke: tone('faint'), grid: { stroke: tone('line'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
    const made = new uPlot({
      width: Math.max(100, element.clientWidth), height: HEIGHT, legend: { show: false }, padding: [8, 20, 0, 0],
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      scales: { y: { range: (_plot, _low, high) => [0, (high || 1) * 1.05] } },
      axes: [{ ...axis, grid: { show: false }, size: 26, space: 60, values: (_plot, values) => marks(values) }, { ...axis, size: (_plot, values) => 14 + 6.5 * Math.max(4, ...(values ?? []).map(({ length }) => length)), values: (_plot, values) => values.map((value) => shownFormat.current(value)) }],
      series: [{}, ...series.map(({ name, tone: of, filled }) => ({
        label: name, stroke: tone(of), width: 1.75, spanGaps: true, points: { show: (plot: uPlot, index: number) => !stepped && known(plot.data[index]!) < MARKED, size: 5 },
        ...(filled ? { fill: () => `color-mix(in srgb, ${resolved(element, of)} 18%, transparent)` } : {}),
        ...(stepped ? { paths: uPlot.paths.stepped!({ align: 1 }) } : {}),
      }))],
      hooks: { setCursor: [({ cursor }) => setIndex(cursor.idx ?? null)] },
    }, data(at, series, stepped), element);
    plot.current = made;
    const sized = new ResizeObserver(() => {
      if (element.clientWidth) made.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    sized.observe(element);
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const redraw = () => made.redraw(false);
    dark.addEventListener('change', redraw);
    return () => {
      sized.disconnect();
      dark.removeEventListener('change', redraw);
      made.destroy();
    };
  }, [shape, stepped]);

  useEffect(() => { plot.current?.setData(data(at, series, stepped)); }, [at, series, stepped]);

  const pointed = index !== null && at[index] !== undefined ? index : null;
  const walk = (event: KeyboardEvent) => {
    const to = { ArrowLeft: (index ?? at.length) - 1, ArrowRight: (index ?? -1) + 1, Home: 0, End: at.length - 1, Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    setIndex(to === null ? null : Math.max(0, Math.min(at.length - 1, to)));
  };
  return (
    <figure class="figure">
      <figcaption class="legend">
        {series.map(({ name, tone, values, shown }) => {
          const value = pointed === null ? shown : values[pointed] ?? null;
          return <span key={name} class={`key of-${tone}`}>{name} <b>{typeof value === 'number' ? format(value) : value ?? '–'}</b></span>;
        })}
        {pointed === null ? null : <span>{moment(new Date(at[pointed]! * 1_000).toISOString())}</span>}
      </figcaption>
      <div class="chart" role="img" aria-label={label} tabIndex={0} ref={place} onKeyDown={walk} onBlur={() => setIndex(null)} />
    </figure>
  );
}

// A step lasts to the begin of the next one, and so does the last.
function data(at: readonly number[], series: readonly Series[], stepped: boolean): uPlot.AlignedData {
  if (!stepped || at.length < 2) return [[...at], ...series.map(({ values }) => [...values])] as uPlot.AlignedData;
  const end = 2 * at.at(-1)! - at.at(-2)!;
  return [[...at, end], ...series.map(({ values }) => [...values, values.at(-1) ?? null])] as uPlot.AlignedData;
}

const known = (values: ArrayLike<unknown>): number => Array.from(values).filter((value) => value !== null).length;

// The colour that the variable has now.
function resolved(element: HTMLElement, name: string): string {
  const probe = element.ownerDocument.createElement('i');
  probe.className = `probe of-${name}`;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
