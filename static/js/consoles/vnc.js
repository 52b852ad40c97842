// The screen over VNC: noVNC draws, scales, and takes mouse and keys.
import { pause, typeable } from "./keyboard.js";

const RETURN = 0xff0d;
const TAB = 0xff09;
const MODIFIERS = [
  [0xffe3, "ControlLeft"],
  [0xffe9, "AltLeft"],
  [0xffe1, "ShiftLeft"],
];
const KEY_MS = 12;

const keysymOf = (character) => {
  const code = character.codePointAt(0);
  if (character === "\n") return RETURN;
  if (character === "\t") return TAB;
  return code < 0x100 ? code : 0x01000000 | code;
};

export async function open({ screen, names, address, password, opened, closed }) {
  const { default: RFB } = await import(names.vnc);
  const rfb = new RFB(screen, address, { credentials: { password }, wsProtocols: ["binary"] });
  let over = false;
  const end = () => {
    if (over) return;
    over = true;
    screen.replaceChildren();
    closed();
  };
  rfb.addEventListener("connect", opened);
  rfb.addEventListener("disconnect", end);
  return {
    close: () => rfb.disconnect(),
    focus: () => rfb.focus(),
    release: () => MODIFIERS.forEach(([keysym, code]) => rfb.sendKey(keysym, code, false)),
    secureAttention: () => rfb.sendCtrlAltDel(),
    scale: (wanted) => {
      rfb.scaleViewport = wanted;
    },
    type: async (text) => {
      for (const character of typeable(text)) {
        rfb.sendKey(keysymOf(character));
        await pause(KEY_MS);
      }
      return true;
    },
  };
}
