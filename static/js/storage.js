// What this browser remembers of a person's choices. Where storage is switched off they last as long as the page.
const here = new Map();

const store = (inTab) => (inTab ? sessionStorage : localStorage);

export function kept(name, { inTab = false } = {}) {
  try {
    return store(inTab).getItem(name);
  } catch {
    return here.get(name) ?? null;
  }
}

export function keep(name, value, { inTab = false } = {}) {
  try {
    if (value === null) store(inTab).removeItem(name);
    else store(inTab).setItem(name, value);
  } catch {
    here.set(name, value);
  }
}
