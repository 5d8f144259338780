// A question before something is done, in a dialog of the browser's own: Escape leaves it, focus comes back.
import { el } from './dom.js';

// Gives the dialog's form data, or null when it was left.
export function question({ title, text, fields = [], yes }) {
  const form = el('form', { method: 'dialog' },
    el('h2', { id: 'dialog-title' }, title), text ? el('p', {}, text) : null, ...fields,
    el('div', { class: 'actions' },
      el('button', { value: 'yes', class: 'main' }, yes),
      el('button', { value: '', class: 'quiet', formnovalidate: true }, 'Leave it')));
  const dialog = el('dialog', { 'aria-labelledby': 'dialog-title' }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener('close', () => {
      answer(dialog.returnValue === 'yes' ? new FormData(form) : null);
      dialog.remove();
    });
  });
}
