// What every page uses: requests with the token of the login, toasts, questions, and parts that refresh themselves.

const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";

export class Refused extends Error {
  constructor(status, problem) {
    super([problem.message, problem.action].filter(Boolean).join(" ") || `The server responded with ${status}.`);
    this.status = status;
    this.code = problem.code ?? "";
    this.problem = problem;
  }
}

/** Send a request and return its response. Throws `Refused` with the server's sentence. */
export async function request(url, { method = "GET", json, headers = {}, body } = {}) {
  const all = { ...headers };
  if (csrf && method !== "GET") all["X-CSRF-Token"] = csrf;
  if (json !== undefined) {
    all["Content-Type"] = "application/json";
    body = JSON.stringify(json);
  }
  let response;
  try {
    response = await fetch(url, { method, headers: all, body });
  } catch {
    throw new Refused(0, { code: "unreachable", message: "The server cannot be reached.", action: "Check that it runs, then try again." });
  }
  if (response.ok) return response;
  let problem = {};
  try {
    problem = await response.json();
  } catch { /* a proxy may respond with something else */ }
  throw new Refused(response.status, problem);
}

export const send = async (url, json = {}, headers = {}, method = "POST") => {
  const response = await request(url, { method, json, headers });
  return response.status === 204 ? null : response.json();
};

const toasts = document.querySelector(".toasts");

/** Show a sentence for some seconds, with something to do about it: `{label, run}`. */
export function toast(text, action, seconds = action ? 9 : 5) {
  const box = document.createElement("div");
  box.className = "toast";
  box.append(Object.assign(document.createElement("span"), { textContent: text }));
  if (action) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "link", textContent: action.label });
    button.addEventListener("click", () => { box.remove(); action.run(); });
    box.append(button);
  }
  toasts.replaceChildren(box);
  setTimeout(() => box.remove(), seconds * 1000);
}

export const failed = (error) => {
  if (!(error instanceof Refused)) console.error(error);
  toast(error.message, null, 9);
};

/** Ask a question in a dialog; resolve to the value of the button, or to "" if it was closed. */
export function ask(dialog) {
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
    dialog.showModal();
  });
}

export const isTyping = (target) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

export const calm = matchMedia("(prefers-reduced-motion: reduce)");

// Menus close when the reader turns to something else.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  }
  if (event.key === "?" && !isTyping(event.target) && !document.querySelector("dialog[open]")) {
    const help = document.querySelector("#help");
    if (help) { event.preventDefault(); help.showModal(); }
  }
  if (event.key === "/" && !isTyping(event.target)) {
    const field = document.querySelector("input[type=search]");
    if (field) { event.preventDefault(); field.focus(); field.select(); }
  }
});
for (const button of document.querySelectorAll("[data-dialog]")) {
  button.addEventListener("click", () => document.querySelector(button.dataset.dialog).showModal());
}

// Forms that change something are sent here, so that a refusal is a sentence on this page and not another page.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form[data-send]")) return;
  event.preventDefault();
  const button = event.submitter;
  if (button) button.disabled = true;
  try {
    const done = await send(form.action, Object.fromEntries(new FormData(form, button)));
    if (done?.message) sessionStorage.setItem("toast", done.message);
    location.assign(done?.url ?? location.href);
  } catch (error) {
    failed(error);
    if (button) button.disabled = false;
  }
});
const kept = sessionStorage.getItem("toast");
if (kept) { sessionStorage.removeItem("toast"); toast(kept); }

/** Keep a part of the page up to date: every few seconds while it is seen, at once when the server says so. */
function keepFresh(part) {
  const every = Number(part.dataset.every) * 1000;
  let timer = 0, before = part.innerHTML;
  const refresh = async () => {
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        const text = await (await request(part.dataset.fresh)).text();
        // What has the focus stays: to replace it would throw a keyboard's user back to the top.
        if (text !== before && !part.contains(document.activeElement)) { part.innerHTML = text; before = text; part.dispatchEvent(new Event("fresh", { bubbles: true })); }
      } catch { /* the next one may succeed */ }
    }
    timer = setTimeout(refresh, every);
  };
  timer = setTimeout(refresh, every);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  document.addEventListener("news", () => { clearTimeout(timer); timer = setTimeout(refresh, 150); });
}
for (const part of document.querySelectorAll("[data-fresh]")) keepFresh(part);

// The server's events say what happens to jobs; without them, the parts refresh themselves a little later. A browser opens
// few connections to one server, so only tabs that are seen listen.
const stream = document.querySelector('meta[name="events"]')?.content;
const kinds = document.querySelector('meta[name="event-kinds"]')?.content.split(" ") ?? [];
let source = null;
function listen() {
  if (document.hidden) {
    source?.close();
    source = null;
  } else if (!source) {
    source = new EventSource(stream);
    for (const kind of kinds) source.addEventListener(kind, (event) => document.dispatchEvent(new CustomEvent("news", { detail: JSON.parse(event.data) })));
  }
}
if (stream && document.querySelector("[data-fresh]")) {
  listen();
  document.addEventListener("visibilitychange", listen);
  addEventListener("pagehide", () => source?.close());
}
