
"use strict";
(() => {
  const player = document.querySelector(".player"), media = player.querySelector("audio, video");
  const absent = player.querySelector(".absent"), chooser = absent.querySelector("input");
  const said = [...document.querySelectorAll(".said")];
  // In the order of their times; who speaks at the same time as another may stand elsewhere on the page.
  const byTime = said.map((span) => ({ span, start: Number(span.dataset.s), end: Number(span.dataset.e) }))
    .sort((a, b) => a.start - b.start);
  let current = null, word = null, isFollowing = true, wanted = null;

  // Each word gets an element only when it is needed: a day of speech has a hundred thousand.
  const divide = (span) => {
    if (!span.dataset.w) return;
    const text = span.textContent, start = Number(span.dataset.s);
    let at = 0;
    const words = span.dataset.w.split(" ").map((pair) => {
      const [length, offset] = pair.split(",").map(Number), made = document.createElement("span");
      const part = text.slice(at, at += length);
      made.textContent = part.trimStart();
      made.dataset.s = start + offset / 100;
      return part.startsWith(" ") ? [" ", made] : [made];
    });
    span.replaceChildren(...words.flat());
    delete span.dataset.w;
  };

  const find = (list, time, startOf) => {
    let low = 0, high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (startOf(list[middle]) <= time) low = middle + 1; else high = middle;
    }
    return list[low - 1] || null;
  };

  const show = () => {
    const time = media.currentTime + 0.05, found = find(byTime, time, (each) => each.start);
    const next = found && time < found.end + 1 ? found.span : null;
    if (next !== current) {
      if (current) current.classList.remove("now");
      current = next;
      if (current) {
        divide(current);
        current.classList.add("now");
        if (isFollowing && !media.paused) current.scrollIntoView({ block: "nearest" });
      }
    }
    const spoken = current && find([...current.children], time, (each) => Number(each.dataset.s));
    if (spoken !== word) {
      if (word) word.classList.remove("word");
      word = spoken;
      if (word) word.classList.add("word");
    }
  };

  const go = (time, play) => {
    isFollowing = true;
    if (media.readyState) media.currentTime = time; else wanted = time;
    if (play) media.play().catch(() => {});
    show();
  };

  const isHere = (url) => url.protocol === location.protocol && url.host === location.host;
  const sources = [new URLSearchParams(location.search).get("recording"), media.dataset.src]
    .filter(Boolean).map((each) => new URL(each, location.href)).filter(isHere);
  const load = () => {
    const next = sources.shift();
    if (next) { media.src = next.href; return; }
    absent.hidden = false;
    media.hidden = true;
    document.body.classList.remove("can-play");
  };
  media.addEventListener("error", load);
  media.addEventListener("loadedmetadata", () => {
    absent.hidden = true;
    media.hidden = false;
    document.body.classList.add("can-play");
    if (wanted !== null) { media.currentTime = wanted; wanted = null; }
  });
  chooser.addEventListener("change", () => {
    if (chooser.files.length) media.src = URL.createObjectURL(chooser.files[0]);
  });
  const frame = () => { show(); if (!media.paused) requestAnimationFrame(frame); };
  media.addEventListener("play", frame);
  for (const kind of ["seeked", "pause", "timeupdate"]) media.addEventListener(kind, show);
  for (const kind of ["wheel", "touchmove"]) addEventListener(kind, () => { isFollowing = false; }, { passive: true });

  document.querySelector("article").addEventListener("pointerover", (event) => {
    const span = event.target.closest(".said");
    if (span) divide(span);
  });
  document.querySelector("article").addEventListener("click", (event) => {
    const link = event.target.closest(".time"), span = event.target.closest(".said");
    if (link) { event.preventDefault(); history.replaceState(null, "", link.hash); go(Number(link.dataset.s), true); return; }
    if (!span || !getSelection().isCollapsed) return;  // a person who marks text does not want to hear it
    go(Number(event.target.dataset.s || span.dataset.s), true);
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("a, button, input, audio, video")) return;
    if (event.key === " ") { event.preventDefault(); if (media.paused) media.play().catch(() => {}); else media.pause(); }
    if (event.key === "ArrowLeft") go(Math.max(0, media.currentTime - 5), false);
    if (event.key === "ArrowRight") go(media.currentTime + 5, false);
  });
  const jump = () => {
    const at = /^#t=(\d+(?:\.\d+)?)$/.exec(location.hash);
    if (!at) return;
    go(Number(at[1]), false);
    const found = find(byTime, Number(at[1]) + 0.05, (each) => each.start);
    if (found) found.span.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", jump);
  player.hidden = false;
  document.querySelector(".keys").hidden = false;
  load();
  jump();
})();
