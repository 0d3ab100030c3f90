// Drop files or folders: they are uploaded in pieces (tus 1.0.0), so that one that is interrupted goes on where it was,
// also after the page was closed, if the same file is given again.
import { failed, Refused, request, toast } from "./common.js";

const UPLOADS = "/api/v1/uploads";
const PIECE = 16 * 1024 * 1024, AT_ONCE = 2, TRIES = 8;
const MEDIA = /\.(3gp|aac|ac3|aif|aiff|alac|amr|ape|asf|au|avi|caf|dss|dts|flac|flv|gsm|m4a|m4b|m4v|mka|mkv|mov|mp2|mp3|mp4|mpc|mpeg|mpg|mts|mxf|oga|ogg|ogv|opus|qt|ra|rm|spx|tak|ts|tta|vob|voc|wav|weba|webm|wma|wmv|wv|w64)$/i;
const tus = (headers = {}) => ({ "Tus-Resumable": "1.0.0", ...headers });
const box = document.querySelector(".uploads"), rows = box.querySelector("ul");
const queue = [], byJob = new Map();
let nRunning = 0, isFollowed = false;

const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
const megabytes = (n) => n < 1e6 ? `${Math.ceil(n / 1e3)} kB` : n < 1e9 ? `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} MB` : `${(n / 1e9).toFixed(1)} GB`;

/** A file on its way, and its line on the page. */
class Upload {
  constructor(file, folder) {
    this.file = file;
    this.folder = folder;
    this.key = `upload ${folder}/${file.name} ${file.size} ${file.lastModified}`;
    this.isStopped = false;
    this.row = document.createElement("li");
    this.name = Object.assign(document.createElement("bdi"), { textContent: file.name, title: folder ? `${folder}/${file.name}` : file.name });
    this.bar = Object.assign(document.createElement("progress"), { max: 1, value: 0 });
    this.bar.setAttribute("aria-label", `Progress of ${file.name}`);
    this.state = Object.assign(document.createElement("span"), { className: "quiet num", textContent: `${megabytes(file.size)}, waiting` });
    this.button = Object.assign(document.createElement("button"), { type: "button", className: "button small", textContent: "Cancel" });
    this.button.setAttribute("aria-label", `Cancel ${file.name}`);
    this.button.addEventListener("click", () => this.cancel());
    this.row.append(this.name, this.bar, this.state, this.button);
    rows.append(this.row);
    box.hidden = false;
  }
  say(text, value) {
    this.state.textContent = text;
    if (value !== undefined) this.bar.value = value;
  }
  fail(text) {
    this.bar.hidden = true;
    this.state.className = "chip bad";
    this.say(text);
    this.state.title = text;
    this.button.textContent = "Remove";
    this.button.onclick = () => { this.row.remove(); box.hidden = !rows.children.length; };
    this.isStopped = true;
  }
  async cancel() {
    this.isStopped = true;
    this.sending?.abort();
    localStorage.removeItem(this.key);
    this.row.remove();
    box.hidden = !rows.children.length;
    try {
      if (this.job) await request(`/api/v1/jobs/${this.job}`, { method: "DELETE" });
      else if (this.url) await request(this.url, { method: "DELETE", headers: tus() });
    } catch (error) { if (error.status !== 404) failed(error); }
  }

  async run() {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.send();
      } catch (error) {
        if (this.isStopped) return;
        const isPassing = error instanceof Refused && (error.status === 0 || error.status === 429 || error.status === 503 || error.status === 409);
        if (!isPassing || attempt >= TRIES) return this.fail(error.message);
        this.say("interrupted, goes on in a moment");
        await new Promise((go) => setTimeout(go, Math.min(30, 1.6 ** attempt) * 1000));
      }
    }
  }

  async send() {
    let at = await this.resume();
    if (at === null) {
      const about = { filename: this.file.name, ...(this.folder ? { folder: this.folder } : {}) };
      const metadata = Object.entries(about).map(([name, value]) => `${name} ${base64(value)}`).join(",");
      const made = await request(UPLOADS, { method: "POST", headers: tus({ "Upload-Length": String(this.file.size), "Upload-Metadata": metadata }) });
      this.url = made.headers.get("Location");
      localStorage.setItem(this.key, this.url);
      at = 0;
    }
    while (at < this.file.size && !this.isStopped) {
      const response = await this.piece(at);
      at = Number(response.get("Upload-Offset"));
      this.job = response.get("Nightscribe-Job") ?? this.job;
    }
    if (this.isStopped) return;
    localStorage.removeItem(this.key);
    this.say("waiting for a worker", 0);
    byJob.set(this.job, this);
    follow();
  }

  /** Return how many bytes the server has of an earlier try, or null if it has none. */
  async resume() {
    this.url ??= localStorage.getItem(this.key);
    if (!this.url) return null;
    try {
      const state = (await request(this.url, { method: "HEAD", headers: tus() })).headers;
      this.job = state.get("Nightscribe-Job") ?? undefined;
      return Number(state.get("Upload-Offset"));
    } catch (error) {
      if (error instanceof Refused && [403, 404, 410].includes(error.status)) {
        localStorage.removeItem(this.key);
        this.url = null;
        return null;
      }
      throw error;
    }
  }

  /** Send a piece; `fetch` does not tell how much has been sent. */
  piece(at) {
    return new Promise((resolve, reject) => {
      const sending = (this.sending = new XMLHttpRequest());
      sending.open("PATCH", this.url);
      const headers = tus({ "Upload-Offset": String(at), "Content-Type": "application/offset+octet-stream" });
      const csrf = document.querySelector('meta[name="csrf"]')?.content;
      if (csrf) headers["X-CSRF-Token"] = csrf;
      for (const [name, value] of Object.entries(headers)) sending.setRequestHeader(name, value);
      sending.upload.onprogress = (event) => {
        const share = (at + event.loaded) / this.file.size;
        this.say(`uploading, ${Math.floor(100 * share)} % of ${megabytes(this.file.size)}`, share);
      };
      sending.onload = () => {
        if (sending.status < 300) return resolve({ get: (name) => sending.getResponseHeader(name) });
        let problem = {};
        try { problem = JSON.parse(sending.responseText); } catch { /* a proxy's own words */ }
        reject(new Refused(sending.status, problem));
      };
      sending.onerror = () => reject(new Refused(0, { message: "The connection was interrupted." }));
      sending.onabort = sending.onerror;
      sending.send(this.file.slice(at, at + PIECE));
    });
  }

  /** Show what the server says of the job. */
  show(job) {
    const done = job.progress ?? 0;
    if (job.state === "queued") this.say(job.place ? `waiting, ${job.place} before it` : "waiting for a worker", 0);
    else if (job.state === "running") this.say(job.progress === null ? "being transcribed" : `being transcribed, ${Math.floor(100 * done)} %`, done);
    else if (job.state === "failed") this.fail(job.error?.message ?? "It failed.");
    else if (job.state === "finished") {
      this.say("finished", 1);
      const link = Object.assign(document.createElement("a"), { href: `/recording/${job.recording.split("/").map(encodeURIComponent).join("/")}`, textContent: "Open", className: "button small" });
      link.setAttribute("aria-label", `Open ${this.file.name}`);
      this.button.replaceWith(link);
      document.dispatchEvent(new Event("list"));
    } else if (["cancelled", "deleted"].includes(job.state)) this.row.remove();
    if (!["queued", "running"].includes(job.state)) byJob.delete(job.id);
    box.hidden = !rows.children.length;
  }
}

function follow() {
  if (isFollowed) return;
  isFollowed = true;
  document.addEventListener("news", ({ detail }) => byJob.get(detail.id)?.show(detail));
  // Where a proxy swallows the stream, the jobs are asked for one by one.
  setInterval(async () => {
    for (const [id, upload] of byJob) {
      try {
        upload.show(await (await request(`/api/v1/jobs/${id}`)).json());
      } catch (error) { if (error.status === 404) { byJob.delete(id); upload.row.remove(); } }
    }
  }, 4000);
}

function add(files) {
  const usable = files.filter(({ file }) => MEDIA.test(file.name) || /^(audio|video)\//.test(file.type));
  const left = files.length - usable.length;
  if (left) toast(left === 1 ? `“${files.find((each) => !usable.includes(each)).file.name}” is not a recording.` : `${left} files that are no recordings were left out.`);
  for (const { file, folder } of usable) queue.push(new Upload(file, folder));
  next();
}
async function next() {
  while (nRunning < AT_ONCE && queue.length) {
    const upload = queue.shift();
    if (upload.isStopped) continue;
    nRunning++;
    upload.run().finally(() => { nRunning--; next(); });
  }
}
addEventListener("beforeunload", (event) => { if (nRunning || queue.length) event.preventDefault(); });

const below = (path) => [box.dataset.folder, path].filter(Boolean).join("/");
const folderOf = (path) => path.split("/").slice(0, -1).join("/");
for (const [button, field] of [["#add-files", "#files"], ["#add-folder", "#folder"]]) {
  const input = document.querySelector(field);
  document.querySelector(button).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    add([...input.files].map((file) => ({ file, folder: below(folderOf(file.webkitRelativePath)) })));
    input.value = "";
  });
}

const shade = document.querySelector(".dropping");
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => { if (hasFiles(event)) { event.preventDefault(); shade.hidden = false; } });
addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) shade.hidden = true; });
addEventListener("drop", async (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  shade.hidden = true;
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  for (const entry of entries) await collect(entry, "", found);
  add(found);
});
async function collect(entry, path, found) {
  if (!entry) return;
  if (entry instanceof File) return found.push({ file: entry, folder: below(path) });
  if (entry.isFile) return found.push({ file: await new Promise((ok, no) => entry.file(ok, no)), folder: below(path) });
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((ok, no) => reader.readEntries(ok, no));
    if (!some.length) return;
    for (const each of some) await collect(each, [path, entry.name].filter(Boolean).join("/"), found);
  }
}
