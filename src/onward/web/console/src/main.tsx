import { render } from 'preact';
import 'uplot/dist/uPlot.min.css';
import './styles/base.css';
import './styles/shell.css';
import './styles/table.css';
import './styles/overview.css';
import './styles/operators.css';
import './styles/jobs.css';
import './styles/job.css';
import './styles/pages.css';
import { start } from './graphql';
import { Shell } from './shell';

const place = document.getElementById('console')!;
const { graphql = 'graphql', jobs = './', icon = '' } = place.dataset;

start();
place.replaceChildren();
render(<Shell explorer={graphql} jobs={jobs} icon={icon} />, place);
