// The page: its connection to the studio, the toolbars over the view, and the keys.
import { choice, fill, h, icon, iconButton, message } from "dom";
import { jobsList, makePanels } from "panels";
import { everyExpression, Player } from "player";
import { ANGLES, LIGHT_NAMES, View } from "view";

const TOKEN = document.querySelector("meta[name=studio-token]").content;
const DISPLAYS = { now: "Now", before: "Before", beside: "Side by side", split: "Split", movement: "Movement", change: "Change" };
const COMPARING = ["beside", "split", "movement"];
const MATERIALS = { clay: "clay", skin: "skin", matcap: "matcap" };
const PIECE = 1 << 20, RETRY_MS = 2000, BUSY_MS = 250;
// as in rendering/figures.py
const DIVERGING = "rgb(14,48,120), rgb(36,98,178), rgb(104,164,216), rgb(172,204,226), rgb(226,225,221), rgb(240,194,168), rgb(232,138,102), rgb(196,56,58), rgb(122,10,38)";
const SEQUENTIAL = "rgb(230,230,224), rgb(250,222,150), rgb(246,174,84), rgb(226,104,62), rgb(172,36,72), rgb(88,12,78)";
const VIEW_CHANGES = new Set(["word", "shape", "blend", "express", "sample", "reset", "measure", "copy", "preset", "show", "random", "remove", "undo", "redo", "jump", "display", "other", "beyond"]);

// Each tab has its own name, which survives a reload, so that the tab finds its session again. A second name is new
// each time the page loads; it tells a broken connection from a duplicated tab.
const draw = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const stored = sessionStorage.getItem("imhead-tab") ?? draw();
sessionStorage.setItem("imhead-tab", stored);
const TAB = `${stored}.${draw()}`;

const thumbs = { heads: new Map(), steps: new Map(), presets: new Map(), ready: false };
const ranges = new Map();
let socket = null, hello = null, state = null, view = null, panels = null, player = null, jobs = [], own = [], display = null;
let lastTake = null;
let pending = 0, moving = false, shownSkin = "", wanted = "clay", toldWhy = false;
let shown = { limit_mm: 0, display: "now" }, scanLimit = 0;
const jobList = jobsList(send);

function send(said) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  if (VIEW_CHANGES.has(said.do)) { pending = pending || performance.now(); setTimeout(chip, BUSY_MS); }
  if (said.do !== "range" && said.do !== "hold") ranges.clear();
  socket.send(JSON.stringify(said));
}

// ---- connection

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/?token=${TOKEN}&tab=${TAB}`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => (typeof data === "string" ? receive(JSON.parse(data), {}) : receive(...unpack(data)));
  socket.onclose = () => {
    if (toldWhy) return;
    lost("The connection to the studio is lost. If it still runs, this page comes back by itself.");
    setTimeout(connect, RETRY_MS);
  };
}

function lost(text) {
  const box = document.getElementById("lost");
  box.hidden = !text;
  box.firstElementChild.textContent = text;
}

function unpack(buffer) {
  const size = new DataView(buffer).getUint32(0, true);
  const said = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  let at = 4 + size;
  const arrays = {};
  for (const [name, kind, count] of said.arrays) {
    const make = { float32: Float32Array, uint32: Uint32Array, uint8: Uint8Array }[kind];
    arrays[name] = new make(buffer, at, count);
    at += Math.ceil((count * make.BYTES_PER_ELEMENT) / 4) * 4;
  }
  return [said, arrays];
}

const RECEIVE = {
  hello(said, arrays) {
    lost("");
    if (hello) return; // the page is back; what it needs once, it has
    hello = said;
    build(arrays);
  },
  full() {
    toldWhy = true;
    lost("The studio is full. Close another tab of it, then reload this one.");
  },
  state(said) {
    state = said;
    panels.update(state);
    compared();
    skin();
    chip();
  },
  moving(_, arrays) {
    moving = true;
    player.leave();
    view.showMoving(arrays);
    chip();
  },
  still(said, arrays) {
    moving = false;
    pending = 0;
    player.leave();
    view.showStill(arrays, said.display);
    shown = said;
    divide();
    showLegend();
    if (said.display === "now" && !said.draft) {
      const url = view.thumbnail();
      thumbs.heads.set(said.head, url);
      thumbs.steps.set(said.at, url);
      panels.update(state);
    }
    chip();
  },
  scan(said, arrays) {
    scanLimit = said.limit_mm;
    view.showScan(arrays);
    showLegend();
  },
  async skin(said, arrays) {
    await view.wear(said.key, arrays.skin, arrays.eye);
  },
  take(said, arrays) {
    lastTake = { name: said.name, ...arrays };
    if (state) player.load(lastTake); // else the page was loaded again
  },
  face(said, arrays) {
    player.receive(said, arrays);
  },
  preset(said, arrays) {
    thumbs.presets.set(said.name, view.thumbnail(arrays));
    panels.update(state);
  },
  jobs(said) {
    jobs = said.jobs;
    showJobs();
  },
  handle(said) {
    view.hold(said.vertex, said.ways);
  },
  range(said) {
    ranges.set(said.name, [said.low, said.high]);
    panels.edit.refresh();
  },
  file(said, arrays) {
    save(new Blob([arrays.content]), said.name);
  },
  error(said) {
    pending = 0;
    player?.fail();
    chip();
    panels?.edit.settleFields();
    message(said.text, { error: true, offers: said.offers.map((offer) => ({
      text: `Use ${offer.value} for ${offer.label}`, onclick: () => send({ do: "measure", name: offer.name, value: offer.value }),
    })) });
  },
};

function receive(said, arrays) {
  if (said.kind === "hello" || said.kind === "full" || hello) RECEIVE[said.kind]?.(said, arrays);
}

// ---- parts of the page

function build(arrays) {
  view = new View(document.getElementById("view"), arrays, {
    pick: (row, add) => send({ do: "select", names: [hello.regions[row].name], add }),
    miss: () => { if (state?.selection.length) send({ do: "select", names: [] }); },
    point: pointAt,
    grab: (vertex) => send({ do: "handle", vertex }),
    drag: (way, value, first) => {
      if (first) send({ do: "hold" });
      send({ do: way.kind, key: way.key, value });
      document.getElementById("chip").textContent = `${way.kind === "word" ? way.key : `shape ${way.key + 1}`} ${value.toFixed(2)}`;
    },
    drop: () => send({ do: "release" }),
  });
  view.wearEyes(arrays.eye);
  player = new Player(view, hello.shapes, { key: () => state?.face, ask: () => send({ do: "face" }), told: showTake });
  const every = everyExpression(hello.shapes);
  const play = (take) => { if (player.take !== take) player.load(take); player.play(); };
  panels = makePanels(hello, { send, playEvery: () => play(every), playTake: () => play(lastTake), thumbs, ranges, upload, scanLook: (as, opacity) => { view.scanLook(as, opacity); showLegend(); }, spin });
  thumbs.ready = true;
  document.getElementById("left").append(...panels.left, jobList.element);
  document.getElementById("right").append(...panels.right);
  display = choice("what is shown", DISPLAYS, (mode) => send({ do: "display", mode }));
  const other = h("select", { id: "other", onchange: () => send({ do: "other", name: other.value }) });
  document.getElementById("top").prepend(display.element, h("label", { id: "with", class: "bar", hidden: true }, h("span", {}, "with"), other));
  document.getElementById("divider").addEventListener("pointerdown", slide);
  document.getElementById("divider").addEventListener("keydown", ({ key }) => { if (WAYS[key]) partAt(view.part + WAYS[key]); });
  takeBar();
  toolbar();
}

const pressed = (name, key, start, onchange) => {
  const element = h("button", { type: "button", "aria-pressed": String(start), title: `key ${key.toUpperCase()}`, onclick: () => {
    const on = element.getAttribute("aria-pressed") !== "true";
    element.setAttribute("aria-pressed", String(on));
    onchange(on);
  } }, name);
  keys[key] = () => element.click();
  return element;
};

function toolbar() {
  const views = Object.keys(ANGLES).map((name, k) => {
    keys[String(k + 1)] = () => view.turn(name);
    return h("button", { type: "button", title: `key ${k + 1}`, onclick: () => view.turn(name) }, name);
  });
  const zoom = h("button", { type: "button", title: "key F", onclick: () => view.frame() }, "zoom to selection");
  keys.f = () => view.frame();
  const options = { ...MATERIALS };
  if (!hello.skinned) delete options.skin;
  const material = h("select", { id: "material", onchange: () => { wanted = material.value; skin(); } },
    ...Object.entries(options).map(([value, text]) => h("option", { value }, text)));
  const light = h("select", { id: "light", onchange: () => view.light(light.value) }, ...LIGHT_NAMES.map((name) => h("option", { value: name }, name)));
  document.getElementById("bottom").append(
    h("div", { class: "bar", role: "group", "aria-label": "camera" }, ...views, zoom),
    h("div", { class: "bar", role: "group", "aria-label": "how the head is drawn" },
      h("label", {}, h("span", {}, "surface"), material), h("label", {}, h("span", {}, "light"), light),
      pressed("drag surface", "g", false, (on) => { view.grabbing = on; }), pressed("wireframe", "w", false, (on) => view.wireframe(on)), pressed("tint", "t", true, (on) => view.tint(on))));
}

// ---- two heads

const WAYS = { ArrowLeft: -0.02, ArrowRight: 0.02 };

/** The buttons over the view, and whom the shown head is compared with. */
function compared() {
  display.update(state.display);
  display.offer("change", Boolean(state.change));
  document.getElementById("with").hidden = !COMPARING.includes(state.display);
  const other = document.getElementById("other"), names = state.heads.filter((_, k) => k !== state.active).map((head) => head.name);
  fill(other, names, () => [h("option", { value: "" }, "itself as it was added"), ...names.map((name) => h("option", { value: name }, name))]);
  other.value = state.other ?? "";
  view.dressOther(state.other_skin === state.skin);
}

/** Names of both heads, and the line that parts the view. */
function divide() {
  const two = ["beside", "split"].includes(shown.display), line = document.getElementById("divider");
  document.getElementById("names").classList.toggle("on", two);
  document.getElementById("name-before").textContent = state.other ?? "before";
  document.getElementById("name-now").textContent = state.other ? state.heads[state.active].name : "now";
  line.hidden = shown.display !== "split";
  partAt(view.part);
}

function partAt(share) {
  view.partAt(share);
  const line = document.getElementById("divider");
  line.style.left = `${100 * view.part}%`;
  line.setAttribute("aria-valuenow", String(Math.round(100 * view.part)));
}

function slide(event) {
  const line = event.currentTarget, box = document.getElementById("middle").getBoundingClientRect();
  line.setPointerCapture(event.pointerId);
  const move = ({ clientX }) => partAt((clientX - box.left) / box.width);
  line.addEventListener("pointermove", move);
  line.addEventListener("pointerup", () => line.removeEventListener("pointermove", move), { once: true });
}

// ---- a take

const bar = {};

function takeBar() {
  bar.play = h("button", { type: "button", onclick: () => player.toggle() });
  bar.range = h("input", { type: "range", min: 0, step: 0.01, "aria-label": "time in the take, seconds", oninput: () => {
    const second = Number(bar.range.value); // before the bar is told to show another one
    player.pause();
    player.seek(second);
  } });
  bar.time = h("span", { class: "time" });
  bar.about = h("span", { class: "about" });
  const turn = h("input", { type: "checkbox", checked: true, onchange: () => { player.turning = turn.checked; player.seek(player.second); } });
  const keep = h("button", { type: "button", title: "make this frame the expression of the head", onclick: () => {
    send({ do: "express", weights: hello.shapes.map((name, k) => [name, Math.round(1000 * player.weights[k]) / 1000]).filter(([, value]) => value > 0) });
  } }, "Keep", h("span", { class: "spare" }, " frame"));
  document.getElementById("take").append(bar.play, bar.range, bar.time, bar.about, h("label", { class: "check", title: "turn the head as the take does" }, turn, "turn"), keep,
    iconButton("put the take away", "close", () => player.close(), { class: "plain" }));
}

function showTake({ take, second, lasts, playing, waiting }) {
  const box = document.getElementById("take");
  box.hidden = !take;
  if (!take) return;
  const name = playing || waiting === "play" ? "pause" : "play";
  if (bar.play.dataset.shows !== name) {
    bar.play.dataset.shows = name;
    bar.play.setAttribute("aria-label", name);
    bar.play.title = `${name} (Space)`;
    bar.play.replaceChildren(icon(name));
  }
  bar.range.max = String(lasts);
  bar.range.value = String(second);
  bar.range.style.setProperty("--to", `${lasts ? (100 * second) / lasts : 0}%`);
  bar.time.textContent = `${second.toFixed(2)} / ${lasts.toFixed(2)} s`;
  const about = waiting ? "making the head ready…" : take.about?.(second).replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`) ?? take.name;
  if (bar.about.textContent !== about) bar.about.textContent = about;
}

/** A head with colours of its own wears them; another one wears paint only if the person wants it. */
function skin() {
  const select = document.getElementById("material");
  if (state.skin !== shownSkin && state.skin !== "painted" && hello.skinned) wanted = select.value = "skin";
  else if (state.skin !== shownSkin && shownSkin && shownSkin !== "painted") wanted = select.value = "clay";
  shownSkin = state.skin;
  const eyes = shownSkin !== "painted";
  if ((wanted === "skin" || eyes) && hello.skinned && view.look.skinKey !== state.skin && view.look.asked !== state.skin) {
    view.look.asked = state.skin;
    send({ do: "skin" });
  }
  view.material(wanted);
}

function chip() {
  const late = pending && performance.now() - pending >= BUSY_MS - 20;
  const texts = [];
  if (state?.display === "change" && state.change) texts.push(`Change from ${state.change.before} to ${state.change.after}`);
  if (state?.display === "before") texts.push("Before: the head as it was when it was added");
  if (late) texts.push("updating…");
  else if (moving) texts.push("preview");
  document.getElementById("chip").textContent = texts.join(" · ");
}

function legend(limit, title, signed = true) {
  const box = document.getElementById("legend");
  box.hidden = !limit;
  if (!limit) return;
  const scale = h("div", { class: "scale" });
  scale.style.background = `linear-gradient(to right, ${signed ? DIVERGING : SEQUENTIAL})`;
  const ticks = signed ? [-limit, 0, limit] : [0, limit / 2, limit];
  box.replaceChildren(h("div", {}, title), scale, h("div", { class: "ticks" }, ...ticks.map((value) => h("span", {}, String(Number(value.toPrecision(3)))))));
}

/** The scale of what is drawn: movement, or the scan over its head. */
function showLegend() {
  if (shown.display === "change" && shown.limit_mm) legend(shown.limit_mm, `change from ${state.change.before} to ${state.change.after}, mm; ${state.change.beyond ? `white is within the noise of ±${state.change.noise_mm} mm, ` : ""}grey was not compared`);
  else if (shown.limit_mm) legend(shown.limit_mm, `movement ${state.other ? `from ${state.other}` : "since it was added"}, mm`);
  else legend(view.scanAs !== "plain" ? scanLimit : 0, "scan to head, mm", false);
}

function pointAt(row, event) {
  const box = document.getElementById("pointer-name");
  box.hidden = row < 0;
  if (row < 0) return;
  const place = document.getElementById("middle").getBoundingClientRect();
  box.textContent = hello.regions[row].label;
  box.style.left = `${event.clientX - place.left + 16}px`;
  box.style.top = `${event.clientY - place.top + 12}px`;
}

function showJobs() {
  jobList.show([...jobs, ...own]);
  panels?.files.jobs(jobs);
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

async function spin() {
  if (own.length) return;
  const job = { number: -1, title: "Turntable", stage: "drawing", part: 0, ending: false };
  job.cancel = () => { job.ending = true; showJobs(); };
  own = [job];
  showJobs();
  try {
    const found = await view.turntable((part) => {
      job.part = part;
      showJobs();
      return !job.ending;
    });
    if (found) save(found, `${state.heads[state.active].name.replace(/[^\p{L}\p{N}]/gu, "_")}.webp`);
  } catch (error) {
    message(error.message, { error: true });
  } finally {
    own = [];
    showJobs();
  }
}

function upload(file) {
  const kind = hello.uploads.find((end) => file.name.toLowerCase().endsWith(end));
  if (!kind) {
    message(`${file.name}: this kind of file cannot be opened; choose one of ${hello.uploads.join(", ")}`, { error: true });
    return;
  }
  if (file.size > hello.most_bytes) {
    message(`${file.name}: has ${Math.round(file.size / (1 << 20))} MB; open files of at most ${hello.most_bytes >> 20} MB`, { error: true });
    return;
  }
  send({ do: "upload", name: file.name, size: file.size });
  (async () => {
    for (let at = 0; at < file.size; at += PIECE) socket.send(await file.slice(at, at + PIECE).arrayBuffer());
  })();
}

// ---- keys

const keys = {
  " ": () => (player.take ? player.toggle() : send({ do: "display", mode: state.display === "before" ? "now" : "before" })),
  escape: () => { if (state.selection.length) send({ do: "select", names: [] }); },
};

window.addEventListener("keydown", (event) => {
  if (!state) return;
  const typing = event.target.matches?.("input:not([type=range]):not([type=checkbox]), select, textarea");
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && (key === "z" || key === "y") && !typing) {
    event.preventDefault();
    send({ do: key === "y" || event.shiftKey ? "redo" : "undo" });
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || typing && key !== "escape") return;
  if (key === " " && event.target.matches?.("button, summary, input, a")) return;
  if (keys[key]) { event.preventDefault(); keys[key](); }
});

const drop = document.getElementById("drop");
let over = 0;
window.addEventListener("dragenter", (event) => { event.preventDefault(); over++; drop.hidden = !hello; });
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("dragleave", () => { over--; if (over <= 0) { over = 0; drop.hidden = true; } });
window.addEventListener("drop", (event) => {
  event.preventDefault();
  over = 0;
  drop.hidden = true;
  if (hello && event.dataTransfer.files[0]) upload(event.dataTransfer.files[0]);
});

connect();
