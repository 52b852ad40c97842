// A US keyboard: which key, and with or without Shift, makes which character. Numbers are scan codes of set 1.
const ROWS = [
  [0x02, "1234567890-=", "!@#$%^&*()_+"],
  [0x10, "qwertyuiop[]", "QWERTYUIOP{}"],
  [0x1e, "asdfghjkl;'`", "ASDFGHJKL:\"~"],
  [0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"],
];

export const CONTROL = 0x1d;
export const ALT = 0x38;
export const SHIFT = 0x2a;
export const DELETE = 0x53e0; // an extended key: E0 first

const keys = new Map([
  ["\n", { code: 0x1c }],
  ["\t", { code: 0x0f }],
  [" ", { code: 0x39 }],
]);
for (const [first, plain, shifted] of ROWS) {
  [...plain].forEach((character, index) => keys.set(character, { code: first + index }));
  [...shifted].forEach((character, index) => keys.set(character, { code: first + index, shift: true }));
}

export const keyOf = (character) => keys.get(character);

// Where the lines end differently, and no more than the control characters that a keyboard has.
export const typeable = (text) => text.replaceAll(/\r\n?/g, "\n");

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
