// What the account remembers of a person's choices, for every browser the person uses.
const place = document.body.dataset.account;

// Kept when this returns; where nothing can be reached, it is kept by this browser alone.
export async function keepWithAccount(choices) {
  if (!place) return;
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  const body = new URLSearchParams({ ...choices, csrfmiddlewaretoken: token });
  await fetch(place, { method: "POST", body, headers: { "X-Part": "1" }, keepalive: true }).catch(() => {});
}
