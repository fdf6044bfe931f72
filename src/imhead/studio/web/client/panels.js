// The panels beside the view. They show the state that the server sends, and say what the person does.
import { button, fill, h, iconButton, slider, tabs, thumb } from "dom";

const GROUPS = ["eyes", "brow", "nose", "mouth", "chin", "jaw", "ears", "cheek", "temple", "forehead", "scalp", "neck"];
const SLIDERS = 9;
const SHAPE_GROUPS = { Mouth: ["mouth"], "Jaw and tongue": ["jaw", "tongue"], Eyes: ["eye"], Brows: ["brow"], "Cheeks and nose": ["cheek", "nose"] };
const FILES = {
  avatar: ["Avatar (GLB)", "textured head with eyes, teeth, tongue, lashes, bones and 52 shapes"],
  preview: ["Preview", "animated WebP of the avatar, about 8 s of it"],
  GLB: ["Mesh (GLB)", "with UVs and the 52 ARKit shapes, in metres"],
  OBJ: ["OBJ", "mesh with UVs, in mm"],
  PLY: ["PLY", "mesh, in mm"],
  STL: ["STL", "closed mesh for 3D printing, in mm"],
  "head file": ["Head file", "the codes of the head; opens again here and in imhead"],
  report: ["Report", "page that says what changed since the head was added"],
};

const TAKES = [".csv", ".json", ".jsonl"];

const spaced = (name) => name.replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`);

/** Heads: choose, add, rename, remove; the scan of a head. */
function headsPanel(send, hello, thumbs, open, scanLook) {
  const list = h("ul", { class: "heads", "aria-label": "heads of this session" });
  const remove = button("Remove", () => send({ do: "remove" }), { mark: "trash" });
  const rename = button("Rename", () => edit(), { mark: "edit" });
  const name = h("input", { type: "text", maxLength: 60, class: "grow", "aria-label": "new name of the head", hidden: true });
  let state = null, leaving = false;
  const edit = () => {
    name.hidden = false;
    name.value = state.heads[state.active].name;
    name.focus();
    name.select();
  };
  const done = (keep) => {
    if (name.hidden || leaving) return;
    leaving = true;
    const value = name.value.trim();
    if (keep && value && value !== state.heads[state.active].name) send({ do: "rename", name: value });
    name.hidden = true;
    leaving = false;
  };
  name.addEventListener("keydown", (event) => { if (event.key === "Enter") done(true); if (event.key === "Escape") { event.stopPropagation(); done(false); } });
  name.addEventListener("blur", () => done(true));
  const quality = h("div", {});
  const overlay = h("input", { type: "checkbox", onchange: () => send({ do: "overlay", on: overlay.checked }) });
  const as = h("select", { "aria-label": "how the scan is drawn", onchange: () => look() },
    h("option", { value: "distance" }, "by distance to the head"), h("option", { value: "plain" }, "in one colour"));
  const opacity = slider({ name: "opacity of the scan", low: "clear", high: "solid", min: 0.05, max: 1, step: 0.05, oninput: () => look() });
  opacity.set(0.6);
  const look = () => scanLook(as.value, opacity.value);
  const scan = h("div", { hidden: true }, h("h3", {}, "Scan"), quality,
    h("p", {}, h("label", { class: "check" }, overlay, "show the scan over the head")), h("p", {}, as), opacity.element);
  const hint = h("p", { class: "hint" });
  const change = changePanel(send);
  const element = h("div", {},
    h("div", { class: "row" }, button("Open a scan…", () => open(hello.uploads), { mark: "open", class: "main wide" }),
      button("New random head", () => send({ do: "random" }), { mark: "dice", class: "wide" })),
    h("p", { class: "hint" }, `Scan, head file, project or take, up to ${hello.most_bytes >> 20} MB. Files stay on this machine.`),
    list, h("div", { class: "row" }, rename, remove), h("div", { class: "row" }, name), hint, scan, change.element);
  return {
    element,
    update(next) {
      state = next;
      fill(list, [state.heads, state.active, state.heads.map((head) => thumbs.heads.has(head.key) && thumbs.heads.get(head.key).length)], () =>
        state.heads.map((head, k) => h("li", {}, h("button", {
          type: "button", class: "pick", "aria-current": String(k === state.active), onclick: () => send({ do: "show", name: head.name }),
          ondblclick: () => { if (k === state.active) edit(); },
        }, thumb(thumbs.heads.get(head.key), head.name), h("span", { class: "grow" }, head.name)))));
      remove.disabled = state.heads.length < 2;
      remove.title = remove.disabled ? "this is the only head" : "";
      change.update(state);
      hint.textContent = state.skin_note;
      scan.hidden = !state.scan;
      if (state.scan) {
        const told = state.scan.median_mm === null ? "the head explains nothing of the scan"
          : `median distance ${state.scan.median_mm.toFixed(2)} mm over the ${state.scan.explained} % of the scan that the head fits`;
        fill(quality, [told, state.scan.warnings], () => [h("p", { class: "quality" }, told), ...state.scan.warnings.map((text) => h("p", { class: "note" }, text))]);
        overlay.checked = state.overlay;
        as.disabled = !state.overlay;
        opacity.enable(state.overlay);
      }
    },
  };
}

/** What changed between the scans of two heads. */
function changePanel(send) {
  const other = h("select", { class: "grow", "aria-label": "scan before" });
  const stable = h("input", { type: "checkbox" });
  const start = button("Compare the scans", () => send({ do: "compare scans", name: other.value, on_selection: stable.checked && !stable.disabled }), { class: "wide" });
  const beyond = h("input", { type: "checkbox", onchange: () => send({ do: "beyond", on: beyond.checked }) });
  const told = h("div", {}), found = h("div", { hidden: true }, told,
    h("p", {}, h("label", { class: "check" }, beyond, "only what is beyond the noise")),
    h("div", { class: "row" }, button("Show the change", () => send({ do: "display", mode: "change" }), { class: "grow" }), button("Save its report", () => send({ do: "change report" }), { mark: "save", class: "grow" })));
  const ask = h("div", {}, h("div", { class: "row tight" }, h("span", {}, "before"), other), h("p", { class: "hint" }, "The shown head's scan is the one after."),
    h("p", {}, h("label", { class: "check", title: "else on forehead, brows, bridge of the nose and temples" }, stable, "aligned on the selection, which did not change")), start);
  const element = h("div", { hidden: true }, h("h3", {}, "Change between two scans"), ask, found);
  const place = ({ region, mean_mm, error_mm, volume_ml }) => h("li", {}, `${region}: ${mean_mm > 0 ? "+" : ""}${mean_mm} ± ${error_mm} mm, ${volume_ml > 0 ? "+" : ""}${volume_ml} ml`);
  return {
    element,
    update(state) {
      const others = state.heads.filter((head, k) => head.scan && k !== state.active).map((head) => head.name);
      ask.hidden = !state.scan || !others.length;
      found.hidden = !state.change;
      element.hidden = ask.hidden && found.hidden;
      fill(other, others, () => others.map((name) => h("option", { value: name }, name)));
      stable.disabled = !state.selection.length;
      if (!state.change) return;
      const { before, after, noise_mm, beyond_percent, places, warnings } = state.change;
      const pair = `${before} ${after} ${noise_mm}`, fresh = found.dataset.pair !== pair;
      found.dataset.pair = pair;
      beyond.checked = state.change.beyond;
      fill(told, state.change, () => [
        h("p", { class: "quality" }, `${before} to ${after}: ${beyond_percent} % of what both show moved by more than the noise, ±${noise_mm} mm where nothing changed.`),
        places.length ? h("ul", { class: "places" }, ...places.map(place)) : h("p", { class: "hint" }, "No place changed by more than the noise."),
        ...warnings.map((text) => h("p", { class: "note" }, text))]);
      if (fresh) found.scrollIntoView({ block: "nearest" });
    },
  };
}

/** Steps: undo, redo, jump, name. */
function historyPanel(send, thumbs) {
  const undo = button("Undo", () => send({ do: "undo" }), { mark: "undo", class: "grow", title: "Ctrl-Z" });
  const redo = button("Redo", () => send({ do: "redo" }), { mark: "redo", class: "grow", title: "Ctrl-Shift-Z" });
  const list = h("ol", { class: "steps", "aria-label": "steps" });
  const others = h("ol", { class: "steps", "aria-label": "steps of other branches" });
  const more = h("details", { hidden: true }, h("summary", {}, "Undone steps"), others);
  const empty = h("p", { class: "empty hint" }, "Every change becomes a step here. A drag of a slider is one step. Undone steps are kept.");
  const element = h("div", {}, h("div", { class: "row tight" }, undo, redo), empty, list, more);
  const ask = (step) => {
    const label = window.prompt("Name of this step", step.label);
    if (label && label.trim()) send({ do: "name step", number: step.number, label: label.trim().slice(0, 60) });
  };
  const item = (step, at, later) => h("li", { class: later ? "later" : "" },
    h("button", { type: "button", class: "pick", "aria-current": String(step.number === at), onclick: () => send({ do: "jump", number: step.number }) },
      thumb(thumbs.steps.get(step.number), step.label), h("span", { class: "grow" }, step.named ? h("strong", {}, step.label) : step.label)),
    iconButton(`name the step: ${step.label}`, "edit", () => ask(step), { class: "plain" }));
  return {
    element,
    update(state) {
      undo.disabled = !state.can_undo;
      redo.disabled = !state.can_redo;
      const byNumber = new Map(state.steps.map((step) => [step.number, step]));
      const line = state.line.map((number) => byNumber.get(number)).filter(Boolean);
      const place = state.line.indexOf(state.at);
      const pictures = state.steps.map((step) => thumbs.steps.has(step.number));
      empty.hidden = state.steps.length > 1;
      fill(list, [line, state.at, pictures], () => line.map((step) => item(step, state.at, state.line.indexOf(step.number) > place)).reverse());
      const rest = state.steps.filter((step) => !state.line.includes(step.number));
      more.hidden = !rest.length;
      fill(others, [rest, state.at, pictures], () => rest.map((step) => item(step, state.at, true)).reverse());
    },
  };
}

/** The selection, its sliders, its measurements, and other heads to take it from. */
function editPanel(send, hello, ranges) {
  const labels = new Map(hello.regions.map((region) => [region.name, region.label]));
  const title = h("h2", { class: "grow" });
  const clear = button("Deselect", () => send({ do: "select", names: [] }), { mark: "close", title: "Esc" });
  const empty = h("p", { class: "empty" }, "Click a part of the head, or choose one here. Shift-click takes several.");
  const chips = GROUPS.map((group) => h("button", { type: "button", "aria-pressed": "false", onclick: (event) => {
    const off = event.target.getAttribute("aria-pressed") === "true" && !event.shiftKey;
    send({ do: "select", names: off ? [] : hello.groups[group], add: event.shiftKey });
  } }, group));
  const part = h("select", { class: "grow", "aria-label": "one part", onchange: () => { if (part.value) send({ do: "select", names: [part.value] }); } },
    h("option", { value: "" }, "one part…"), ...hello.regions.map((region) => h("option", { value: region.name }, region.label)));
  const mirror = h("input", { type: "checkbox", onchange: () => send({ do: "symmetric", on: mirror.checked }) });
  const lock = button("Lock", () => send({ do: "lock", on: lock.getAttribute("aria-pressed") !== "true" }), { mark: "lock", "aria-pressed": "false", title: "locked parts do not change" });
  const unlock = button("Unlock all", () => send({ do: "unlock all" }), { hidden: true });
  const lockNote = h("p", { class: "hint", hidden: true });
  const rows = Array.from({ length: SLIDERS }, () => {
    const row = { kind: "", key: "" };
    row.slider = slider({ name: "shape", min: -hello.most_sigma, max: hello.most_sigma, step: 0.05, from: 0,
      oninput: (value) => send({ do: row.kind, key: row.key, value }), onhold: () => send({ do: "hold" }), onrest: () => send({ do: "release" }) });
    return row;
  });
  const scale = h("p", { class: "hint" }, "Words: 0 is the mean of people. Shapes: 0 is the face without edits. 1 is one standard deviation.");
  const note = h("p", { class: "note", role: "status", hidden: true });
  const sample = button("Random", () => send({ do: "sample" }), { mark: "dice", class: "grow", title: "another shape for the selection" });
  const reset = button("Reset", () => send({ do: "reset" }), { mark: "reset", class: "grow", title: "as it was when the head was added" });
  const own = h("div", {}), rest = h("div", {});
  const restBox = h("details", {}, h("summary", {}, "Other measurements"), rest);
  const scaleNote = h("p", { class: "hint" });
  const measures = h("details", { open: true }, h("summary", {}, "Measurements"), scaleNote, own, restBox);
  const fields = new Map();
  const other = h("select", { class: "grow", "aria-label": "head to copy from" });
  const strength = slider({ name: "how much is copied", low: "a little", high: "all", min: 0, max: 1, step: 0.05, oninput: () => {} });
  strength.set(1);
  const copy = button("Copy the selection", () => send({ do: "copy", name: other.value, strength: strength.value }), { class: "wide" });
  const copyEmpty = h("p", { class: "hint" }, "Add another head under Heads: then its parts can be copied here.");
  const copyBody = h("div", {}, h("p", { class: "row" }, other), strength.element, copy);
  const shares = h("div", {});
  const blendEmpty = h("p", { class: "hint" }, "A blend needs two other heads; add them under Heads.");
  let blended = [];
  const element = h("div", {}, h("div", { class: "row tight" }, title, clear), empty,
    h("div", { class: "chips", role: "group", "aria-label": "select a group" }, ...chips), h("div", { class: "row" }, part),
    h("div", { class: "row" }, h("label", { class: "check grow" }, mirror, "mirror edits"), lock, unlock), lockNote, note,
    ...rows.map((row) => row.slider.element), scale, h("div", { class: "row tight" }, sample, reset), measures,
    h("details", {}, h("summary", {}, "From another head"), copyEmpty, copyBody),
    h("details", {}, h("summary", {}, "Blend other heads"), blendEmpty, shares));

  const field = (item) => {
    const input = h("input", { type: "number", step: 0.1, id: `measure-${item.name}`,
      onfocus: () => send({ do: "range", name: item.name }),
      onchange: () => { if (input.value !== "" && Number(input.value) !== made.value) send({ do: "measure", name: item.name, value: Number(input.value) }); } });
    const about = h("span", { class: "range" });
    const label = h("label", { for: input.id, title: item.definition }, item.label);
    label.htmlFor = input.id;
    const made = { input, about, value: item.value, element: h("div", { class: "measure" }, label, input, h("span", { class: "unit" }, item.unit), about) };
    return made;
  };

  const tellRange = (item, made) => {
    const range = ranges.get(item.name);
    const changed = item.value !== item.before ? `was ${item.before.toFixed(1)}` : "";
    made.about.textContent = [changed, range ? `can reach ${range[0].toFixed(1)} to ${range[1].toFixed(1)} ${item.unit}` : ""].filter(Boolean).join(", ");
  };

  const updateMeasures = (state) => {
    const names = state.measurements.map((item) => [item.name, item.own]);
    for (const item of state.measurements) if (!fields.has(item.name)) fields.set(item.name, field(item));
    if (own.dataset.key !== JSON.stringify(names)) {
      own.dataset.key = JSON.stringify(names);
      const of = (wanted) => state.measurements.filter((item) => item.own === wanted).map((item) => fields.get(item.name).element);
      own.replaceChildren(...of(true));
      rest.replaceChildren(...of(false));
      if (!state.measurements.some((item) => item.own)) own.append(h("p", { class: "hint" }, state.selection.length ? "No measurement describes this part alone." : "Select a part: its measurements stand here first."));
    }
    for (const item of state.measurements) {
      const made = fields.get(item.name);
      made.value = item.value;
      made.input.disabled = !state.free;
      made.input.title = state.free ? "" : "select a part first";
      if (document.activeElement !== made.input || !made.input.matches(":focus-visible")) made.input.value = item.value.toFixed(1);
      tellRange(item, made);
    }
  };

  let last = null;
  return {
    element,
    /** The state is unchanged, but a range was found, or a field must show its value again. */
    refresh() { if (last) updateMeasures(last); },
    settleFields() { if (last) for (const item of last.measurements) fields.get(item.name).input.value = item.value.toFixed(1); },
    update(state) {
      last = state;
      const chosen = state.selection, all = new Set(chosen);
      const locked = chosen.filter((name) => state.locked.includes(name));
      title.textContent = state.title || "Nothing selected";
      empty.hidden = chosen.length > 0;
      clear.disabled = !chosen.length;
      GROUPS.forEach((group, k) => chips[k].setAttribute("aria-pressed", String(hello.groups[group].every((name) => all.has(name)))));
      part.value = chosen.length === 1 ? chosen[0] : "";
      mirror.checked = state.symmetric;
      lock.disabled = !chosen.length;
      lock.setAttribute("aria-pressed", String(chosen.length > 0 && locked.length === chosen.length));
      unlock.hidden = !state.locked.length;
      lockNote.hidden = !state.locked.length;
      lockNote.textContent = state.locked.length ? `Locked, striped on the head: ${state.locked.map((name) => labels.get(name)).slice(0, 6).join(", ")}${state.locked.length > 6 ? ` and ${state.locked.length - 6} more` : ""}.` : "";
      sample.disabled = reset.disabled = !state.free;
      rows.forEach((row, k) => {
        const item = state.sliders[k];
        row.slider.element.hidden = !item;
        if (!item) return;
        if (row.kind !== item.kind || row.key !== item.key) Object.assign(row, { kind: item.kind, key: item.key });
        if (item.kind === "word") row.slider.name(`${item.low} to ${item.label}`, item.low, item.label);
        else row.slider.name(item.label, item.label, item.share);
        row.slider.set(item.value);
      });
      scale.hidden = !state.sliders.length;
      note.hidden = !state.note;
      note.textContent = state.note;
      scaleNote.textContent = state.scale_note;
      scaleNote.hidden = !state.scale_note;
      updateMeasures(state);
      const others = state.heads.filter((_, k) => k !== state.active).map((head) => head.name);
      copyEmpty.hidden = others.length > 0;
      copyBody.hidden = !others.length;
      fill(other, others, () => others.map((name) => h("option", { value: name }, name)));
      copy.disabled = !state.free;
      blendEmpty.hidden = others.length > 1;
      shares.hidden = others.length < 2;
      fill(shares, others, () => {
        blended = others.slice(0, 6).map((name) => ({ name, slider: slider({ name: `share of ${name}`, low: name, min: 0, max: 1, step: 0.05,
          oninput: () => {
            const wanted = blended.map((one) => [one.name, one.slider.value]);
            if (wanted.some(([, value]) => value > 0)) send({ do: "blend", shares: wanted });
          }, onhold: () => send({ do: "hold" }), onrest: () => send({ do: "release" }) }) }));
        blended.forEach((one) => one.slider.set(0));
        return blended.map((one) => one.slider.element);
      });
      blended.forEach((one) => one.slider.enable(state.free > 0));
    },
  };
}

/** Expressions: presets, all ARKit shapes, and a player. */
function expressionPanel(send, hello, thumbs, { open, playEvery, playTake }) {
  const names = ["neutral", "smile", "surprise", "angry", "sad", "kiss", "eyes closed", "mouth open"];
  const presets = h("div", { class: "presets", role: "group", "aria-label": "expressions" });
  const about = h("p", { class: "hint" }), warnings = h("div", {});
  const again = button("Play the take", playTake, { mark: "play", class: "wide" });
  const take = h("div", { hidden: true }, about, warnings, again);
  const empty = h("p", { class: "hint" }, "A take is a recorded face: the CSV of Live Link Face, or MediaPipe's blend shapes as CSV or JSON.");
  const sliders = new Map();
  const tell = () => {
    send({ do: "express", weights: [...sliders].map(([name, one]) => [name, one.value]).filter(([, value]) => value > 0) });
  };
  const groups = Object.entries(SHAPE_GROUPS).map(([title, starts], k) => h("details", { open: k === 0 }, h("summary", {}, title),
    ...hello.shapes.filter((name) => starts.some((start) => name.startsWith(start))).map((name) => {
      const one = slider({ name: spaced(name), low: spaced(name), min: 0, max: 1, step: 0.01, oninput: tell, onhold: () => send({ do: "hold" }), onrest: () => send({ do: "release" }) });
      sliders.set(name, one);
      return one.element;
    })));
  let asked = false;
  return {
    element: h("div", {}, presets, h("div", { class: "row" }, button("Open a take…", () => open(TAKES), { mark: "open", class: "wide" }),
      button("Play every expression", playEvery, { mark: "play", class: "wide" })), empty, take, ...groups),
    onshow() {
      if (!asked && thumbs.ready) { asked = true; send({ do: "presets" }); }
    },
    update(state) {
      fill(presets, names.map((name) => thumbs.presets.has(name)), () => names.map((name) => h("button", { type: "button", onclick: () => send({ do: "preset", name }) }, thumb(thumbs.presets.get(name), name), h("span", {}, name))));
      for (const [name, one] of sliders) one.set(state.expression[name]);
      take.hidden = !state.take;
      empty.hidden = Boolean(state.take);
      if (!state.take) return;
      about.textContent = `${state.take.name}: ${state.take.frames} frames, ${state.take.seconds.toFixed(2)} s`;
      fill(warnings, state.take.warnings, () => state.take.warnings.map((text) => h("p", { class: "note" }, text)));
    },
  };
}

/** Files to save. */
function filesPanel(send, spin) {
  const plays = h("input", { type: "checkbox", checked: true });
  const take = h("span", {}), withTake = h("p", { hidden: true }, h("label", { class: "check" }, plays, take));
  const buttons = Object.entries(FILES).map(([kind, [name, about]]) => {
    const one = button(name, () => send({ do: "export", what: kind, take: plays.checked }), { mark: "save", "data-kind": kind });
    return h("div", {}, one, h("p", { class: "hint" }, about));
  });
  const turn = button("Turntable", spin, { mark: "turn" });
  const element = h("div", {}, h("h3", {}, "This head"), withTake, h("div", { class: "files" }, ...buttons,
    h("div", {}, turn, h("p", { class: "hint" }, "animated WebP of the head as it is drawn, turning once"))),
  h("h3", {}, "The whole session"), h("div", { class: "files" }, h("div", {}, button("Project", () => send({ do: "project" }), { mark: "save" }),
    h("p", { class: "hint" }, "every head and every step; opens again under Heads"))));
  return {
    element,
    update(state) {
      withTake.hidden = !state.take;
      take.textContent = state.take ? `the avatar and its preview play ${state.take.name}` : "";
    },
    jobs(jobs) {
      for (const one of element.querySelectorAll("button[data-kind]")) one.disabled = jobs.some((job) => job.title.endsWith(`: ${one.dataset.kind}`));
    },
  };
}

/** What runs, how far it is, and a button that cancels it. */
export function jobsList(send) {
  const element = h("div", { id: "jobs", role: "region", "aria-label": "what runs" });
  const rows = new Map();
  return {
    element,
    show(jobs) {
      for (const [number, row] of rows) if (!jobs.some((job) => job.number === number)) { row.element.remove(); rows.delete(number); }
      for (const job of jobs) {
        let row = rows.get(job.number);
        if (!row) {
          const bar = h("progress", { max: 1, "aria-label": `progress of ${job.title}` });
          const stage = h("span", { class: "hint grow" });
          const cancel = button("Cancel", () => (job.cancel ? job.cancel() : send({ do: "cancel", number: job.number })), { "aria-label": `cancel ${job.title}` });
          row = { bar, stage, cancel, element: h("div", { class: "job" }, h("div", { class: "title" }, job.title), bar, h("div", { class: "row tight" }, stage, cancel)) };
          rows.set(job.number, row);
          element.append(row.element);
        }
        row.stage.textContent = job.ending ? "ending…" : job.stage;
        row.cancel.disabled = job.ending;
        if (job.part === null) row.bar.removeAttribute("value"); else row.bar.value = job.part;
      }
    },
  };
}

/** All panels. `tools` holds what they need of the page. */
export function makePanels(hello, { send, thumbs, ranges, upload, scanLook, spin, playEvery, playTake }) {
  const file = h("input", { type: "file", class: "unseen", tabIndex: -1, "aria-label": "file to open", "aria-hidden": "true",
    onchange: () => { if (file.files[0]) upload(file.files[0]); file.value = ""; } });
  document.body.append(file);
  const open = (ends) => { file.accept = ends.join(","); file.click(); };
  const heads = headsPanel(send, hello, thumbs, open, scanLook);
  const history = historyPanel(send, thumbs);
  const edit = editPanel(send, hello, ranges);
  const expression = expressionPanel(send, hello, thumbs, { open, playEvery, playTake });
  const files = filesPanel(send, spin);
  const all = [heads, history, edit, expression, files];
  return {
    left: tabs("heads and history", [{ title: "Heads", element: heads.element }, { title: "History", element: history.element }]),
    right: tabs("edit, expression and files", [{ title: "Edit", element: edit.element },
      { title: "Expression", element: expression.element, onshow: expression.onshow }, { title: "Save", element: files.element }]),
    edit, files,
    update: (state) => all.forEach((panel) => panel.update(state)),
  };
}

