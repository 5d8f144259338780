/** The server's side of WebSockets in this process: each test says how it answers. */
export class FakeSocket {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;
  static all: FakeSocket[] = [];
  /** Called with each message of the client. */
  static answer: (socket: FakeSocket, message: Message) => void = () => {};

  readyState = FakeSocket.CONNECTING;
  readonly sent: Message[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: object) => void) | null = null;
  onerror: ((event: object) => void) | null = null;

  constructor() {
    FakeSocket.all.push(this);
    queueMicrotask(() => this.open());
  }

  open(): void {
    this.readyState = FakeSocket.OPEN;
    this.onopen?.();
  }

  send(text: string): void {
    const message = JSON.parse(text) as Message;
    this.sent.push(message);
    queueMicrotask(() => FakeSocket.answer(this, message));
  }

  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  close(code = 1006, reason = ''): void {
    if (this.readyState === FakeSocket.CLOSED) return;
    this.readyState = FakeSocket.CLOSED;
    this.onclose?.({ code, reason, wasClean: true });
  }

  /** The payloads of its subscriptions. */
  get subscribed(): { query: string; variables: Record<string, unknown> }[] {
    return this.sent.filter(({ type }) => type === 'subscribe').map(({ payload }) => payload as never);
  }
}

export interface Message {
  type: string;
  id?: string;
  payload?: unknown;
}

/** Accept every connection. */
export function accept(socket: FakeSocket, { type }: Message): void {
  if (type === 'connection_init') socket.say({ type: 'connection_ack' });
}
