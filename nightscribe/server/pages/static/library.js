// The list of recordings: filters apply as they are chosen, without loading the whole page again.
import { failed, request } from "./common.js";

const form = document.querySelector("#filters");
const results = document.querySelector("#results");
let timer = 0, running = null, before = "";

async function apply(push = true) {
  clearTimeout(timer);
  const values = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  const url = `${form.getAttribute("action")}?${values}`;
  running?.abort();
  const mine = (running = new AbortController());
  try {
    const response = await fetch(url, { headers: { "X-Part": "results" }, signal: mine.signal });
    if (!response.ok) return location.assign(url);
    const text = await response.text();
    if (!push && (text === before || results.contains(document.activeElement))) return;
    results.innerHTML = before = text;
    if (results.querySelector("table")) form.hidden = false;
    if (push) history.replaceState(null, "", url);
  } catch (error) {
    if (error.name !== "AbortError") failed(error);
  }
}

form?.addEventListener("change", (event) => { if (event.target.matches("select")) apply(); });
form?.addEventListener("input", (event) => {
  if (!event.target.matches("input")) return;
  clearTimeout(timer);
  timer = setTimeout(apply, 180);
});
form?.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
document.addEventListener("fresh", (event) => { if (event.target.id === "tonight") apply(false); });
for (const kind of ["news", "list"]) document.addEventListener(kind, () => { clearTimeout(timer); timer = setTimeout(apply, 800, false); });

// The list of a large archive is made once; until it is there, this page looks again.
(function lookAgain() {
  if (!results.querySelector("[data-reading]")) return;
  setTimeout(async () => {
    await apply(false);
    lookAgain();
  }, 2000);
})();
