// The page of a signal's address: a form, which sends what it is given to the same address.
import { parse } from '../shared/exact.js';
import { byId, el } from './dom.js';
import { schemaForm } from './schema-form.js';

const place = byId('answer');

place.append(schemaForm(parse(place.dataset.schema), async (payload) => {
  const response = await fetch(location.href, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(payload),
  });
  const { errors } = await response.json();
  if (!errors.length) place.replaceChildren(el('p', { role: 'status' }, 'Thank you. Your answer has arrived.'));
  return errors;
}));
