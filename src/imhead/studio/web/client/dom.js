// Building blocks of the panels: elements, icons, sliders, messages.

/** An element with properties, events (onclick …) and children. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list" && name !== "role") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const ICONS = {
  undo: "M9 14 4 9l5-5M4 9h9a6 6 0 0 1 0 12h-2", redo: "m15 14 5-5-5-5m5 5h-9a6 6 0 0 0 0 12h2",
  dice: "M4 4h16v16H4zM8.5 8.5h.01m7 0h.01m-7 7h.01m7 0h.01m-3.5-3.5h.01", trash: "M4 7h16M10 11v6m4-6v6M5 7l1 13h12l1-13M9 7V4h6v3",
  open: "M4 15v5h16v-5M12 4v12M7 9l5-5 5 5", save: "M4 15v5h16v-5M12 4v12m-5-5 5 5 5-5", edit: "m4 20 1-4L16 5l3 3L8 19zM14 7l3 3",
  play: "M7 5v14l12-7z", stop: "M6 6h12v12H6z", lock: "M6 11h12v9H6zM8 11V8a4 4 0 0 1 8 0v3", reset: "M4 4v6h6M5 15a8 8 0 1 0 2-9l-3 4",
  close: "M6 6l12 12M18 6 6 18", pause: "M8 5v14M16 5v14", turn: "M20 12a8 8 0 1 1-3-6l3 2V3",
};

/** An icon; beside it stands its name, or its button carries one. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon and its name. */
export function button(text, onclick, { mark, ...props } = {}) {
  return h("button", { type: "button", onclick, ...props }, mark ? icon(mark) : null, h("span", {}, text));
}

/** A button that shows an icon alone; its name is for the pointer and for screen readers. */
export function iconButton(name, mark, onclick, props = {}) {
  return h("button", { type: "button", onclick, title: name, "aria-label": name, ...props }, icon(mark));
}

/** A row of buttons of which one is pressed. `update(value)` presses it. */
export function choice(name, options, onchoose) {
  const buttons = Object.entries(options).map(([value, text]) =>
    h("button", { type: "button", "aria-pressed": "false", onclick: () => onchoose(value) }, text));
  const element = h("div", { class: "bar", role: "group", "aria-label": name }, ...buttons);
  const keys = Object.keys(options);
  return {
    element,
    update: (value) => buttons.forEach((one, k) => one.setAttribute("aria-pressed", String(keys[k] === value))),
    offer: (value, on) => { buttons[keys.indexOf(value)].hidden = !on; },
  };
}

const THUMB = 14; // px, as in style.css
const REST_MS = 700; // after the last key, a value counts as chosen

/**
 * A slider with its number. While it is held, `oninput` gets every value; `onrest` is called once when it is let go.
 * `from` is where its bar starts: the middle, or the least value.
 */
export function slider({ name, low = "", high = "", min, max, step, from = min, oninput, onhold = () => {}, onrest = () => {} }) {
  const range = h("input", { type: "range", min, max, step, "aria-label": name });
  const number = h("input", { type: "number", min, max, step, "aria-label": `${name}, number` });
  const ends = [h("span", {}, low), h("span", {}, high)];
  const element = h("div", { class: from > min ? "slider centred" : "slider" },
    h("div", { class: "ends" }, ...ends), h("div", { class: "line" }, h("div", { class: "grow row tight" }, range), number));
  let held = false, waiting = 0;
  const place = (value) => `calc(${THUMB / 2}px + ${(value - min) / (max - min)} * (100% - ${THUMB}px))`;
  const paint = (value) => {
    range.style.setProperty("--from", place(Math.min(value, from)));
    range.style.setProperty("--to", place(Math.max(value, from)));
  };
  const hold = () => {
    clearTimeout(waiting);
    if (!held) { held = true; onhold(); }
  };
  const rest = () => {
    clearTimeout(waiting);
    if (held) { held = false; onrest(); }
  };
  let pointer = false;
  range.addEventListener("pointerdown", () => { pointer = true; });
  range.addEventListener("input", () => {
    hold();
    const value = Number(range.value);
    number.value = String(value);
    paint(value);
    oninput(value);
  });
  range.addEventListener("change", () => {
    if (pointer) rest(); else waiting = setTimeout(rest, REST_MS);
    pointer = false;
  });
  range.addEventListener("blur", rest);
  number.addEventListener("change", () => {
    const value = Math.min(max, Math.max(min, Number(number.value) || 0));
    hold();
    oninput(value);
    rest();
  });
  return {
    element,
    get value() { return Number(range.value); },
    /** Show a value, unless the person is about to change it. */
    set(value) {
      if (held) return;
      range.value = String(value);
      if (document.activeElement !== number) number.value = String(value);
      paint(value);
    },
    name(text, left, right) {
      range.setAttribute("aria-label", text);
      number.setAttribute("aria-label", `${text}, number`);
      ends[0].textContent = left;
      ends[1].textContent = right;
    },
    enable(on) { range.disabled = number.disabled = !on; },
  };
}

/** Tabs over pages. */
export function tabs(name, pages) {
  const buttons = [];
  const bodies = [];
  const show = (k) => {
    buttons.forEach((one, n) => {
      one.setAttribute("aria-selected", String(n === k));
      one.tabIndex = n === k ? 0 : -1;
    });
    bodies.forEach((one, n) => { one.hidden = n !== k; });
    pages[k].onshow?.();
  };
  pages.forEach((page, k) => {
    const id = page.title.toLowerCase();
    buttons.push(h("button", {
      type: "button", role: "tab", id: `tab-${id}`, "aria-controls": `page-${id}`, onclick: () => show(k),
      onkeydown: (event) => {
        const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!way) return;
        const next = (k + way + pages.length) % pages.length;
        show(next);
        buttons[next].focus();
      },
    }, page.title));
    bodies.push(h("div", { class: "page", role: "tabpanel", id: `page-${id}`, "aria-labelledby": `tab-${id}`, tabIndex: 0 }, page.element));
  });
  show(0);
  return [h("div", { class: "tabs", role: "tablist", "aria-label": name }, ...buttons), ...bodies];
}

const READING_MS = 14000;

/** A message over the view: an error in red, or news. The same text is shown once. */
export function message(text, { error = false, offers = [] } = {}) {
  const list = document.getElementById("messages");
  for (const old of list.children) if (old.dataset.text === text) old.remove();
  const close = () => element.remove();
  const element = h("div", { class: error ? "message error" : "message", role: error ? "alert" : "status" },
    h("div", { class: "grow" }, error ? h("strong", {}, "That did not work. ") : null, h("p", {}, text),
      h("div", { class: "row" }, ...offers.map(({ text: offer, onclick }) => button(offer, () => { onclick(); close(); }, { class: "main" })))),
    iconButton("close this message", "close", close, { class: "plain" }));
  element.dataset.text = text;
  list.append(element);
  while (list.children.length > 4) list.firstChild.remove();
  setTimeout(close, READING_MS);
}

/** A picture, or the first letter of what it will show. */
export function thumb(url, name) {
  return url ? h("img", { class: "thumb", src: url, alt: "" }) : h("span", { class: "thumb", "aria-hidden": "true" }, name.slice(0, 1).toUpperCase());
}

/** Replace children only if what they show has changed, so that focus stays where it is. */
export function fill(element, key, make) {
  const text = JSON.stringify(key);
  if (element.dataset.key === text) return;
  element.dataset.key = text;
  const focused = element.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") || document.activeElement.textContent : null;
  element.replaceChildren(...make());
  if (focused) [...element.querySelectorAll("button")].find((one) => (one.getAttribute("aria-label") || one.textContent) === focused)?.focus();
}
