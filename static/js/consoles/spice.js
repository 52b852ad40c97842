// The screen over SPICE: its own client draws, and takes mouse and keys; this module connects, types and scales.
import { ALT, CONTROL, DELETE, SHIFT, keyOf, pause, typeable } from "./keyboard.js";

const KEY_MS = 12; // a guest's keyboard has a short memory

export async function open({ screen, names, address, password, opened, closed }) {
  const [{ SpiceMainConn }, { SpiceConn }, messages, { Constants }, { keycode_to_end_scan: known }] = await Promise.all(
    [names.spice, names.spiceConnection, names.spiceMessages, names.spiceConstants, names.spiceKeys].map(
      (name) => import(name),
    ),
  );
  let over = false;
  let scaled = false;

  const end = () => {
    if (over) return;
    over = true;
    observer.disconnect();
    sizes.disconnect();
    screen.removeEventListener("keydown", unknown, true);
    screen.removeEventListener("keyup", unknown, true);
    try {
      main?.stop();
    } catch {
      // it stops channels that may not have begun
    }
    screen.replaceChildren();
    closed();
  };
  // Each channel has a socket of its own, and with any of them the console is lost.
  SpiceConn.prototype.onerror = end;

  // Its client shows an alert for keys that it does not know, such as those of input methods.
  const unknown = (event) => {
    if (known(event.keyCode)) return;
    event.stopPropagation();
  };
  screen.addEventListener("keydown", unknown, true);
  screen.addEventListener("keyup", unknown, true);

  // The mouse is told in the canvas's own measure, whatever it is drawn at.
  const fit = () => {
    const canvas = screen.querySelector("canvas");
    if (!canvas) return;
    const frame = screen.parentElement;
    const factor = scaled ? Math.min(frame.clientWidth / canvas.width, frame.clientHeight / canvas.height) : 1;
    canvas.style.transform = factor === 1 ? "" : `scale(${factor})`;
    screen.style.width = `${canvas.width * factor}px`;
    screen.style.height = `${canvas.height * factor}px`;
  };
  const observer = new MutationObserver(fit);
  observer.observe(screen, { childList: true });
  const sizes = new ResizeObserver(fit);
  sizes.observe(screen.parentElement);

  const main = new SpiceMainConn({ uri: address, screen_id: screen.id, password, onsuccess: opened });

  const press = (code, down) => {
    const inputs = main.inputs;
    if (over || inputs?.state !== "ready") return;
    const key = down ? new messages.SpiceMsgcKeyDown() : new messages.SpiceMsgcKeyUp();
    // Of an extended key the second byte says that it is let go.
    key.code = down ? code : code | (code > 0xff ? 0x8000 : 0x80);
    const message = new messages.SpiceMiniData();
    message.build_msg(down ? Constants.SPICE_MSGC_INPUTS_KEY_DOWN : Constants.SPICE_MSGC_INPUTS_KEY_UP, key);
    inputs.send_msg(message);
  };
  const chord = (...codes) => {
    codes.forEach((code) => press(code, true));
    codes.reverse().forEach((code) => press(code, false));
  };

  return {
    close: end,
    focus: () => screen.querySelector("canvas")?.focus(),
    release: () => [CONTROL, ALT, SHIFT].forEach((code) => press(code, false)),
    secureAttention: () => chord(CONTROL, ALT, DELETE),
    scale: (wanted) => {
      scaled = wanted;
      fit();
    },
    // True when every character was typed.
    type: async (text) => {
      let all = true;
      for (const character of typeable(text)) {
        const key = keyOf(character);
        if (key) chord(...(key.shift ? [SHIFT] : []), key.code);
        else all = false;
        await pause(KEY_MS);
      }
      return all;
    },
  };
}
