// A recording: the words light up as they are spoken, a click on a word plays it, and the keyboard does everything.
import { ask, calm, failed, isTyping, Refused, request, send, toast } from "./common.js";

const root = document.querySelector(".recording");
const media = document.querySelector("audio, video");
const list = document.querySelector(".transcript");
const canEdit = root.dataset.edit === "yes";
const urls = { ...root.dataset };
const STEP_S = 5;

// The passages, by chunks: the first ones are in the page, the others come before they are seen.

let passages = [];
const seconds = (element, name) => Number(element.dataset[name]);
const collect = () => {
  passages = [...list.querySelectorAll(".passage")].map((element) => ({ element, start: seconds(element, "start"), end: seconds(element, "end") }));
};

const waiting = () => [...list.querySelectorAll(".chunk[data-url]")];
const loads = new Map();

function load(chunk) {
  if (!chunk.dataset.url) return Promise.resolve();
  if (!loads.has(chunk)) {
    loads.set(chunk, (async () => {
      const html = await (await request(chunk.dataset.url)).text();
      chunk.innerHTML = html;
      delete chunk.dataset.url;
      chunk.removeAttribute("aria-busy");
      collect();
      mark(chunk);
    })().catch((error) => { loads.delete(chunk); throw error; }));
  }
  return loads.get(chunk);
}

for (const chunk of list.querySelectorAll(".chunk")) chunk.style.containIntrinsicSize = `auto ${Number(chunk.dataset.n) * 52}px`;
const near = new IntersectionObserver((seen) => {
  for (const each of seen) if (each.isIntersecting) load(each.target).then(() => near.unobserve(each.target), failed);
}, { rootMargin: "1500px" });
for (const chunk of waiting()) near.observe(chunk);
const idle = window.requestIdleCallback ?? ((run) => setTimeout(run, 50));
(function loadRest() {
  const next = waiting()[0];
  if (next) idle(() => load(next).then(loadRest, () => setTimeout(loadRest, 5000)));
})();

async function chunkAt(at) {
  const chunk = waiting().find((each) => seconds(each, "start") <= at && at <= seconds(each, "end"));
  if (chunk) await load(chunk);
}

const indexAt = (at) => {
  let low = 0, high = passages.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (passages[middle].start <= at + 0.01) low = middle + 1; else high = middle;
  }
  return low - 1;
};

// Words. Each passage is one text node; ranges of it are highlighted, so nothing in the page changes while it plays.

const wordsOf = (element) => {
  if (element.words?.source === element.dataset.words) return element.words;
  const words = [];
  words.source = element.dataset.words;
  let at = 0;
  for (const word of (words.source ?? "").split(" ")) {
    if (!word) continue;
    const [length, start, duration] = word.split(".").map(Number);
    words.push({ from: at, to: at + length, start: seconds(element, "start") + start / 100, end: seconds(element, "start") + (start + duration) / 100 });
    at += length;
  }
  return (element.words = words);
};
const textOf = (element) => element.querySelector(".text");
const highlights = "highlights" in CSS;
const spoken = highlights ? new Highlight() : null;
const corrected = highlights ? new Highlight() : null;
const found = highlights ? new Highlight() : null;
if (highlights) {
  CSS.highlights.set("corrected", corrected);
  CSS.highlights.set("found", found);
  CSS.highlights.set("spoken", spoken);
}

function rangeIn(element, from, to) {
  const node = textOf(element).firstChild;
  if (!node || node.nodeType !== Node.TEXT_NODE) return null;
  const text = node.data;
  while (from < to && /\s/.test(text[from])) from++;
  while (to > from && /\s/.test(text[to - 1] ?? " ")) to--;
  const range = document.createRange();
  range.setStart(node, Math.min(from, text.length));
  range.setEnd(node, Math.min(to, text.length));
  return range;
}

/** Show what a person has corrected, and what was searched. */
function mark(part) {
  if (!highlights) return;
  const wanted = (new URLSearchParams(location.search).get("q") ?? "").toLowerCase().split(/[^\p{L}\p{N}']+/u).filter((word) => word.length > 1);
  for (const element of part.querySelectorAll(".passage")) {
    for (const pair of (element.dataset.corrected ?? "").split(" ")) {
      if (!pair) continue;
      const range = rangeIn(element, ...pair.split("-").map(Number));
      if (range) corrected.add(range);
    }
    if (!wanted.length) continue;
    const text = textOf(element).textContent.toLowerCase();
    for (const word of wanted) {
      for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
        const range = rangeIn(element, at, at + word.length);
        if (range) found.add(range);
      }
    }
  }
}

let current = null;

function makeCurrent(element) {
  if (element === current) return;
  current?.removeAttribute("aria-current");
  current = element;
  if (!element) return;
  element.setAttribute("aria-current", "true");
  rove(element);
}

/** Of all passages, one button at a time can be reached with Tab. */
function rove(element) {
  for (const each of list.querySelectorAll('.time[tabindex="0"]')) each.tabIndex = -1;
  element.querySelector(".time").tabIndex = 0;
}

function show(at) {
  const index = indexAt(at);
  const each = index < 0 ? null : passages[index];
  makeCurrent(each?.element ?? null);
  spoken?.clear();
  if (each && spoken && at <= each.end + 0.5 && !editing) {
    const words = wordsOf(each.element);
    const word = words.findLast((one) => one.start <= at + 0.02);
    const range = word && at < word.end + 0.6 ? rangeIn(each.element, word.from, word.to) : null;
    if (range) spoken.add(range);
  }
  if (each && following) bring(each.element);
}

// Scrolling follows the words until the reader scrolls.

let following = true, isScrolling = 0;
const follow = document.querySelector(".follow");
const room = () => ({ top: 80, bottom: innerHeight - (document.querySelector(".player")?.offsetHeight ?? 0) - 60 });

function bring(element, always = false) {
  const box = element.getBoundingClientRect(), { top, bottom } = room();
  if (!always && box.top >= top && box.bottom <= bottom) return;
  isScrolling = performance.now();
  scrollBy({ top: box.top - top - (bottom - top) * 0.3, behavior: calm.matches || Math.abs(box.top) > 3000 ? "instant" : "smooth" });
}
function stopFollowing() {
  if (!following || !media || media.paused || performance.now() - isScrolling < 60) return;
  following = false;
  follow.hidden = false;
}
function startFollowing() {
  following = true;
  follow.hidden = true;
  if (current) bring(current, true);
}
addEventListener("wheel", stopFollowing, { passive: true });
addEventListener("touchmove", stopFollowing, { passive: true });
addEventListener("keydown", (event) => { if (/^(PageUp|PageDown|Home|End)$/.test(event.key)) stopFollowing(); });
follow?.addEventListener("click", startFollowing);

// Playing

async function seek(at, { play = false } = {}) {
  if (!media) return;
  media.currentTime = Math.max(0, at);
  await chunkAt(at);
  show(at);
  if (play) media.play().catch(() => {});
}
let frame = 0;
function tick() {
  show(media.currentTime);
  draw();
  frame = media.paused ? 0 : requestAnimationFrame(tick);
}
if (media) {
  media.addEventListener("play", () => { if (!frame) frame = requestAnimationFrame(tick); });
  media.addEventListener("seeked", () => { chunkAt(media.currentTime).then(() => show(media.currentTime)).catch(failed); draw(); });
  media.addEventListener("timeupdate", () => { if (document.hidden) show(media.currentTime); });
  media.addEventListener("error", () => {
    const notice = document.querySelector("#unplayable");
    if (notice) notice.hidden = false;
  });
  const speed = document.querySelector("#speed");
  speed.value = localStorage.getItem("speed") ?? "1";
  const setSpeed = () => { media.playbackRate = Number(speed.value); localStorage.setItem("speed", speed.value); };
  speed.addEventListener("change", setSpeed);
  media.addEventListener("loadedmetadata", setSpeed);
  setSpeed();
}
function changeSpeed(by) {
  const speed = document.querySelector("#speed");
  const at = speed.selectedIndex + by;
  if (at < 0 || at >= speed.options.length) return;
  speed.selectedIndex = at;
  speed.dispatchEvent(new Event("change"));
  toast(`Speed ${speed.value} ×`, null, 1.5);
}

function offsetAt(event) {
  if (document.caretPositionFromPoint) {
    const place = document.caretPositionFromPoint(event.clientX, event.clientY);
    return place && { node: place.offsetNode, offset: place.offset };
  }
  const range = document.caretRangeFromPoint?.(event.clientX, event.clientY);
  return range && { node: range.startContainer, offset: range.startOffset };
}

list.addEventListener("click", (event) => {
  const element = event.target.closest(".passage");
  if (!element || editing) return;
  if (event.target.closest(".edit")) return edit(element);
  if (event.target.closest("[data-look]")) return look(element);
  if (event.target.closest("[data-machine]")) return toast(`The machine heard: “${element.dataset.machine}”`, null, 8);
  if (event.target.closest(".time")) return startAt(element, seconds(element, "start"));
  if (!event.target.closest(".text") || !getSelection().isCollapsed || event.detail > 1) return;
  const place = offsetAt(event);
  const words = wordsOf(element);
  let at = seconds(element, "start");
  if (place?.node?.nodeType === Node.TEXT_NODE) {
    const word = words.find((one) => place.offset < one.to) ?? words.at(-1);
    const share = place.offset / Math.max(1, place.node.data.length);
    at = word ? word.start : at + share * (seconds(element, "end") - at);
  }
  startAt(element, at);
});
function startAt(element, at) {
  following = true;
  follow.hidden = true;
  rove(element);
  seek(at, { play: true });
}
list.addEventListener("dblclick", (event) => {
  const element = event.target.closest(".text") && event.target.closest(".passage");
  if (element && canEdit && !editing) edit(element);
});

function step(by) {
  const focused = document.activeElement?.closest?.(".passage");
  const from = focused ?? current;
  const index = from ? passages.findIndex((each) => each.element === from) : by > 0 ? -1 : 0;
  const next = passages[index + by];
  if (!next) return;
  if (focused || media?.paused !== false) {
    rove(next.element);
    next.element.querySelector(".time").focus({ preventScroll: true });
    bring(next.element);
    if (media) media.currentTime = next.start;
    makeCurrent(next.element);
  } else seek(next.start);
}

// Doubt

const chosen = () => document.activeElement?.closest?.(".passage") ?? current;
const doubtfulAfter = (by) => {
  const from = chosen();
  const index = from ? passages.findIndex((each) => each.element === from) : by > 0 ? -1 : passages.length;
  for (let at = index + by; at >= 0 && at < passages.length; at += by) if (passages[at].element.classList.contains("doubt")) return passages[at];
  return null;
};
async function nextDoubt(by = 1) {
  let next = doubtfulAfter(by);
  while (!next && by > 0 && waiting().length) {
    await load(waiting()[0]);
    next = doubtfulAfter(by);
  }
  if (!next) {
    const on = document.querySelector("#next-recording");
    return toast(by > 0 ? "No more passages in doubt here." : "No passage in doubt before this one.", by > 0 && on ? { label: "Next recording", run: () => on.click() } : null);
  }
  rove(next.element);
  next.element.querySelector(".time").focus({ preventScroll: true });
  bring(next.element, true);
  seek(Math.max(0, next.start - 0.3), { play: Boolean(media) });
}
async function look(element) {
  if (!element?.classList.contains("doubt")) return toast("Nothing is in doubt here. Press n for the next passage in doubt.");
  try {
    const done = await send(urls.lookUrl, { start_s: seconds(element, "start") });
    replace(done.passages);
    left(done.n_doubtful);
    nextDoubt();
  } catch (error) { failed(error); }
}
function left(n) {
  for (const each of document.querySelectorAll("[data-left]")) each.textContent = n === 1 ? "1 passage in doubt" : n ? `${n} passages in doubt` : "Nothing left in doubt";
}

// Correcting in place

let editing = null;
function replace(changed) {
  let first = null;
  for (const { key, html } of changed) {
    const old = document.getElementById(key);
    if (!old) continue;
    if (!html) { old.remove(); continue; }
    const box = document.createElement("template");
    box.innerHTML = html.trim();
    const fresh = box.content.firstElementChild;
    const hadFocus = old.contains(document.activeElement);
    old.replaceWith(fresh);
    if (old === current) { current = null; makeCurrent(fresh); }
    if (hadFocus) { rove(fresh); fresh.querySelector(".time").focus({ preventScroll: true }); }
    mark(fresh.parentElement);
    first ??= fresh;
  }
  collect();
  drawSoon();
  return first;
}

function edit(element) {
  if (!canEdit || editing) return;
  const text = textOf(element), before = text.textContent;
  media?.pause();
  spoken?.clear();
  editing = element;
  text.contentEditable = "plaintext-only";
  if (text.contentEditable !== "plaintext-only") text.contentEditable = "true";
  text.setAttribute("role", "textbox");
  text.setAttribute("aria-label", "Correct this passage. Enter saves, Escape leaves it as it was.");
  text.focus();
  getSelection().selectAllChildren(text);
  getSelection().collapseToEnd();
  const hint = element.querySelector(".hint") ?? element.appendChild(Object.assign(document.createElement("p"), { className: "note hint" }));
  hint.textContent = "Enter saves · Esc cancels · no text removes the passage";
  const finish = (value) => {
    text.removeEventListener("keydown", onKey);
    text.removeEventListener("blur", onBlur);
    for (const name of ["contenteditable", "role", "aria-label"]) text.removeAttribute(name);
    hint.remove();
    text.textContent = value;
    editing = null;
    rove(element);
    element.querySelector(".time").focus({ preventScroll: true });
  };
  const save = async () => {
    const after = text.textContent.replace(/\s+/g, " ").trim();
    if (after === before.trim()) return finish(before);
    finish(after);
    try {
      const done = await send(urls.correctUrl, { start_s: seconds(element, "start"), text: after }, { "If-Match": `"${element.dataset.tag}"` });
      replace(done.passages);
      left(done.n_doubtful);
      toast("Corrected.", { label: "Undo", run: undo });
    } catch (error) {
      const now = document.getElementById(element.id) ?? element;
      if (error instanceof Refused && error.status === 412) return theirs(now, after, error.problem);
      textOf(now).textContent = before;
      failed(error);
      toast(error.message, { label: "Edit again", run: () => { edit(now); textOf(now).textContent = after; } }, 15);
    }
  };
  const onKey = (event) => {
    event.stopPropagation();
    if (event.isComposing) return;
    if (event.key === "Enter") { event.preventDefault(); save(); }
    if (event.key === "Escape") { event.preventDefault(); finish(before); }
  };
  const onBlur = () => { if (editing === element && document.hasFocus()) save(); };
  text.addEventListener("keydown", onKey);
  text.addEventListener("blur", onBlur);
}

async function theirs(element, mine, problem) {
  const fresh = replace(problem.passages ?? []) ?? element;
  const dialog = document.querySelector("#conflict");
  dialog.querySelector("[data-theirs]").textContent = textOf(fresh).textContent || "(removed)";
  dialog.querySelector("[data-mine]").textContent = mine;
  if (await ask(dialog) !== "mine") return;
  textOf(fresh).textContent = mine;
  try {
    const done = await send(urls.correctUrl, { start_s: seconds(fresh, "start"), text: mine }, { "If-Match": `"${fresh.dataset.tag}"` });
    replace(done.passages);
  } catch (error) { failed(error); }
}

async function undo() {
  try {
    const done = await send(urls.undoUrl);
    const first = replace(done.passages);
    if (done.reload) return location.reload();
    left(done.n_doubtful);
    if (first) bring(first);
    toast("Undone.");
  } catch (error) { failed(error); }
}
document.querySelector("#undo")?.addEventListener("click", undo);

// Speakers

for (const item of document.querySelectorAll(".voices li")) {
  const button = item.querySelector("button"), name = item.querySelector(".name");
  button?.addEventListener("click", () => {
    const field = Object.assign(document.createElement("input"), { type: "text", value: name.textContent, maxLength: 80 });
    field.setAttribute("aria-label", `Name of ${name.textContent}`);
    name.hidden = button.hidden = true;
    name.after(field);
    field.select();
    let isOver = false;
    const finish = async (isKept) => {
      if (isOver) return;
      isOver = true;
      const value = field.value.trim();
      field.remove();
      name.hidden = button.hidden = false;
      button.focus();
      if (!isKept || !value || value === name.textContent) return;
      await rename(item.dataset.label, value);
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") finish(true);
      if (event.key === "Escape") finish(false);
    });
    field.addEventListener("blur", () => finish(true));
  });
}
async function rename(label, name, isSame = false) {
  try {
    const done = await send(urls.speakersUrl, { label, name, is_same: isSame });
    for (const each of document.querySelectorAll("[data-voice]")) if (each.dataset.voice === label) each.textContent = done.name;
    toast(done.message);
  } catch (error) {
    if (!(error instanceof Refused) || error.code !== "name_taken") return failed(error);
    const dialog = document.querySelector("#same-voice");
    dialog.querySelector("[data-name]").textContent = name;
    if (await ask(dialog) === "same") await rename(label, name, true);
  }
}

// The waveform is only another way to see and to move: the controls of the player do the same for everybody.

const wave = document.querySelector(".wave");
let peaks = null, waits = 1;
async function fetchPeaks() {
  if (!wave) return;
  try {
    const response = await fetch(wave.dataset.url);
    if (response.status === 202) {
      waits = Math.min(waits * 1.5, 15);
      return setTimeout(fetchPeaks, waits * 1000);
    }
    if (!response.ok) return;
    peaks = new Uint8Array(await response.arrayBuffer());
    draw();
  } catch { /* there is no waveform then */ }
}
const duration = () => (media && Number.isFinite(media.duration) && media.duration) || Number(root.dataset.duration) || 1;
let colours = null;
function draw() {
  if (!wave || !peaks?.length) return;
  const ratio = devicePixelRatio || 1, width = wave.clientWidth, height = wave.clientHeight;
  if (wave.width !== Math.round(width * ratio)) { wave.width = Math.round(width * ratio); wave.height = Math.round(height * ratio); }
  const style = getComputedStyle(document.documentElement);
  colours ??= { done: style.getPropertyValue("--accent"), rest: style.getPropertyValue("--wave"), doubt: style.getPropertyValue("--doubt") };
  const paint = wave.getContext("2d");
  paint.setTransform(ratio, 0, 0, ratio, 0, 0);
  paint.clearRect(0, 0, width, height);
  const gap = 3, n = Math.floor(width / gap), played = (media?.currentTime ?? 0) / duration();
  for (let at = 0; at < n; at++) {
    const from = Math.floor((at / n) * peaks.length), to = Math.max(from + 1, Math.floor(((at + 1) / n) * peaks.length));
    let peak = 0;
    for (let each = from; each < to; each++) peak = Math.max(peak, peaks[each]);
    const tall = Math.max(1.5, (peak / 255) * (height - 6));
    paint.fillStyle = at / n < played ? colours.done : colours.rest;
    paint.fillRect(at * gap, (height - 4 - tall) / 2, gap - 1, tall);
  }
  paint.fillStyle = colours.doubt;
  for (const { element, start, end } of passages) {
    if (element.classList.contains("doubt")) paint.fillRect((start / duration()) * width, height - 3, Math.max(2, ((end - start) / duration()) * width), 2);
  }
}
let drawing = 0;
const drawSoon = () => { drawing ||= requestAnimationFrame(() => { drawing = 0; draw(); }); };
if (wave) {
  wave.addEventListener("pointerdown", (event) => {
    const move = (at) => seek((Math.max(0, at.clientX - wave.getBoundingClientRect().left) / wave.clientWidth) * duration());
    move(event);
    wave.setPointerCapture(event.pointerId);
    wave.onpointermove = move;
    wave.onpointerup = () => { wave.onpointermove = null; };
  });
  new ResizeObserver(drawSoon).observe(wave);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { colours = null; drawSoon(); });
  fetchPeaks();
}

// The keyboard

const keys = {
  " ": () => { if (media) media.paused ? media.play().catch(() => {}) : media.pause(); },
  k: () => keys[" "](),
  ArrowLeft: () => media && seek(media.currentTime - STEP_S),
  ArrowRight: () => media && seek(media.currentTime + STEP_S),
  ArrowUp: () => step(-1),
  ArrowDown: () => step(1),
  "<": () => changeSpeed(-1),
  ">": () => changeSpeed(1),
  n: () => nextDoubt(1).catch(failed),
  p: () => nextDoubt(-1).catch(failed),
  l: () => canEdit && look(chosen()),
  e: () => { const element = chosen() ?? passages[0]?.element; if (element) edit(element); },
  u: () => canEdit && undo(),
  f: () => startFollowing(),
};
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
  const run = keys[event.key];
  if (!run) return;
  const onControl = event.target.closest?.("button, a, summary, audio, video");
  if (onControl && (event.key === " " || (event.key.startsWith("Arrow") && onControl.matches("audio, video")))) return;
  event.preventDefault();
  run();
});

// Deleting, sharing, and where to begin

document.querySelector("#delete")?.addEventListener("click", async () => {
  if (await ask(document.querySelector("#delete-dialog")) !== "delete") return;
  try {
    const done = await send(urls.deleteUrl);
    sessionStorage.setItem("toast", done.message);
    location.assign(done.url);
  } catch (error) { failed(error); }
});

const share = document.querySelector("#share-dialog");
document.querySelector("#share")?.addEventListener("click", () => { share.showModal(); listShares().catch(failed); });
async function listShares() {
  share.querySelector(".shares").innerHTML = await (await request(urls.sharesUrl)).text();
}
share?.querySelector("form.new")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const made = await send(urls.sharesUrl, { days: Number(new FormData(event.target).get("days")) });
    const field = share.querySelector("#share-link");
    field.value = new URL(made.url, location.href).href;
    share.querySelector(".made").hidden = false;
    field.select();
    await listShares();
  } catch (error) { failed(error); }
});
share?.querySelector("#copy")?.addEventListener("click", async () => {
  const field = share.querySelector("#share-link");
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    toast("Copied.");
  } catch { document.execCommand("copy"); }
});
share?.addEventListener("click", async (event) => {
  const id = event.target.closest("[data-revoke]")?.dataset.revoke;
  if (!id) return;
  try {
    await request(`${urls.sharesUrl}?id=${encodeURIComponent(id)}`, { method: "DELETE" });
    await listShares();
  } catch (error) { failed(error); }
});

collect();
mark(list);
if (passages[0]) rove(passages[0].element);
const wanted = new URLSearchParams(location.search).get("t");
if (wanted !== null && Number.isFinite(Number(wanted))) {
  const at = Number(wanted);
  chunkAt(at).then(() => {
    const index = Math.max(0, indexAt(at + 0.05));
    if (media) media.currentTime = at;
    if (passages[index]) { makeCurrent(passages[index].element); bring(passages[index].element, true); }
  }).catch(failed);
} else if (root.dataset.review === "yes") nextDoubt().catch(failed);
