// The text console: what a system writes on its serial line, and what is typed goes there.
const MOST_AT_ONCE = 4096; // bytes in one frame
const SCROLLBACK = 5000;

export async function open({ screen, names, address, opened, closed }) {
  const [{ Terminal }, { FitAddon }] = await Promise.all([import(names.xterm), import(names.fit)]);
  const terminal = new Terminal({ scrollback: SCROLLBACK, screenReaderMode: true });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(screen);
  fit.fit();
  const sizes = new ResizeObserver(() => fit.fit());
  sizes.observe(screen.parentElement);

  const socket = new WebSocket(address, "binary");
  socket.binaryType = "arraybuffer";
  let over = false;
  const end = () => {
    if (over) return;
    over = true;
    sizes.disconnect();
    socket.close();
    terminal.dispose();
    closed();
  };
  const send = (text) => {
    const bytes = new TextEncoder().encode(text);
    for (let first = 0; first < bytes.length && socket.readyState === WebSocket.OPEN; first += MOST_AT_ONCE) {
      socket.send(bytes.subarray(first, first + MOST_AT_ONCE));
    }
  };
  socket.addEventListener("open", opened);
  socket.addEventListener("message", (event) => terminal.write(new Uint8Array(event.data)));
  socket.addEventListener("close", end);
  terminal.onData(send);

  return {
    close: end,
    focus: () => terminal.focus(),
    release: () => {},
    type: async (text) => {
      send(text);
      return true;
    },
  };
}
