import { render } from 'preact';
import 'uplot/dist/uPlot.min.css';
import '../../static/shared/base.css';
import './styles/parts.css';
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
const { graphql = 'graphql', icon = '' } = place.dataset;

start();
place.replaceChildren();
render(<Shell explorer={graphql} icon={icon} />, place);
