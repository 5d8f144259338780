// The states of a job, in the order in which it goes through them.
import { el, setAttribute, setText } from './dom.js';

export const STATUSES = ['SCHEDULED', 'QUEUED', 'RUNNING', 'RETRYING', 'WAITING', 'CANCELLING', 'SUCCEEDED', 'FAILED', 'CANCELLED'];
export const TERMINAL = new Set(['SUCCEEDED', 'FAILED', 'CANCELLED']);
export const RETRYABLE = ['FAILED', 'CANCELLED'];

export const word = (status) => status.charAt(0) + status.slice(1).toLowerCase();

// A sign of its own and the word: never the colour alone.
export function mark(status) {
  return el('span', { class: 'status', 'data-status': status }, word(status));
}

export function remark(element, status) {
  setText(element, word(status));
  setAttribute(element, 'data-status', status);
}
