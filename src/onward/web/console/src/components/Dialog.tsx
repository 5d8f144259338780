// A question before something is done, in a dialog of the browser's own: Escape leaves it, focus comes back.
import { render, type ComponentChildren } from 'preact';

interface Question { title: string; text?: ComponentChildren; fields?: ComponentChildren; yes: string }

// The field for the reason of a cancelling, as the server takes it; `reasonOf` reads the answer.
export const ReasonField = () => <div class="field"><label for="reason">Reason (optional)</label><input id="reason" name="reason" maxLength={500} autocomplete="off" /></div>;
export const reasonOf = (answer: FormData): string | null => String(answer.get('reason')).trim() || null;

// Gives the form data of `fields`, or null when it was left.
export function question({ title, text, fields, yes }: Question): Promise<FormData | null> {
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-labelledby', 'dialog-title');
  document.body.append(dialog);
  render(
    <form method="dialog">
      <h2 id="dialog-title">{title}</h2>
      {text ? <p>{text}</p> : null}
      {fields}
      <div class="actions">
        <button value="yes" class="main">{yes}</button>
        <button value="" class="quiet" formNoValidate>Leave it</button>
      </div>
    </form>, dialog);
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener('close', () => {
      const form = dialog.querySelector('form');
      answer(dialog.returnValue === 'yes' && form ? new FormData(form) : null);
      render(null, dialog);
      dialog.remove();
    });
  });
}
