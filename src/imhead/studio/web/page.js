"use strict";
// Each tab has its own name, which survives a reload, so that the tab finds its session again. A second name is new
// each time the page loads; it tells a broken connection from a duplicated tab.
const STUDIO_TAB = (() => {
  const draw = () =>
    Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  let name = sessionStorage.getItem("imhead-tab");
  if (name === null) {
    name = draw();
    sessionStorage.setItem("imhead-tab", name);
  }
  return `${name}.${draw()}`;
})();
const STUDIO_QUERY = `token=${encodeURIComponent(STUDIO_TOKEN)}&tab=${STUDIO_TAB}`;

// viser connects from a worker to the page's address without its query; the token must be added.
const originalPost = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...rest) {
  if (message && message.type === "set_server") {
    message = { ...message, server: `${message.server.split("?")[0].replace(/\/$/, "")}/?${STUDIO_QUERY}` };
  }
  return originalPost.call(this, message, ...rest);
};

// The name of the region under the pointer: one request at a time, for the latest position, none while a button is down
(() => {
  let place = null;
  let asking = false;
  let label = null;
  const show = (text, x, y) => {
    if (label === null) {
      label = document.createElement("div");
      label.id = "imhead-region";
      label.style.cssText =
        "position:fixed;z-index:1000;pointer-events:none;padding:2px 9px;border-radius:5px;background:#26323ded;" +
        "color:#fff;font:500 13px/1.5 system-ui,sans-serif;white-space:nowrap";
      document.body.appendChild(label);
    }
    label.style.display = text ? "block" : "none";
    if (text) {
      label.textContent = text;
      label.style.left = `${x + 16}px`;
      label.style.top = `${y + 12}px`;
    }
  };
  const ask = async () => {
    asking = true;
    while (place !== null) {
      const { x, y, left, top } = place;
      place = null;
      try {
        const answer = await fetch(`/pointer?${STUDIO_QUERY}&x=${x.toFixed(5)}&y=${y.toFixed(5)}`);
        show(answer.ok ? (await answer.json()).region : null, left, top);
      } catch {
        show(null);
      }
      await new Promise((done) => setTimeout(done, 40));
    }
    asking = false;
  };
  const off = { x: -1, y: -1, left: 0, top: 0 };
  let over = false;
  const moved = (event) => {
    const free = event.target instanceof HTMLCanvasElement && event.buttons === 0;
    if (free) {
      const box = event.target.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width;
      const y = (event.clientY - box.top) / box.height;
      place = { x, y, left: event.clientX, top: event.clientY };
    } else if (over) {
      place = off;
      show(null);
    }
    over = free;
    if (place !== null && !asking) ask();
  };
  window.addEventListener("pointermove", moved, { passive: true });
  document.documentElement.addEventListener("pointerleave", moved, { passive: true });
})();
