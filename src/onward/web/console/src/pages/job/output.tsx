// The output of a job: texts follow each other as they come, any other chunk is a line, a step that runs again has a heading.
import { useEffect, useRef, useState } from 'preact/hooks';
import { jobOutput } from '../../generated/job';
import { subscribe } from '../../graphql';
import { written, type Last } from './chunks';

const KEPT = 200_000; // characters: a page stays quick
const FOLD_MS = 60; // as often as the server has something new
const AGAIN_MS = 1_500;

// `run` changes when a run begins after the end of another: its chunks are asked for then.
export function Output({ id, run }: { id: string; run: number }) {
  const box = useRef<HTMLPreElement>(null);
  const last = useRef<Last>({ variables: { id, after: null }, attempts: {}, line: true });
  const [some, setSome] = useState(false);
  useEffect(() => {
    let waiting = '';
    let fold: ReturnType<typeof setTimeout> | undefined;
    let again: ReturnType<typeof setTimeout> | undefined;
    let leave = () => {};
    const show = () => {
      fold = undefined;
      const element = box.current!;
      const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 40; // who has scrolled up goes on reading there
      element.append(waiting);
      waiting = '';
      if (element.textContent.length > KEPT * 1.5) element.textContent = `…${element.textContent.slice(-KEPT)}`;
      setSome(true);
      if (atEnd) element.scrollTop = element.scrollHeight;
    };
    // From the chunk after the last one on: after a cut the socket subscribes again with the same variables.
    const follow = () => {
      leave = subscribe(jobOutput, last.current.variables, {
        next: ({ jobOutput: chunk }) => {
          waiting += written(last.current, chunk);
          if (waiting) fold ??= setTimeout(show, FOLD_MS);
        },
        failed: () => { again = setTimeout(follow, AGAIN_MS); },
      });
    };
    follow();
    return () => {
      clearTimeout(again);
      if (fold !== undefined) {
        clearTimeout(fold);
        show();
      }
      leave();
    };
  }, [id, run]);
  return (
    <section class="card output" aria-labelledby="output-title" hidden={!some}>
      <h2 id="output-title">Output</h2>
      <pre ref={box} tabIndex={0} role="log" aria-label="Output" />
    </section>
  );
}
