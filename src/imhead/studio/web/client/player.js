// Plays takes: poses the avatar of the shown head at a time, in the page, and keeps the take's own time.
import { BufferAttribute, BufferGeometry, Color, DoubleSide, DynamicDrawUsage, Group, Mesh, MeshStandardMaterial } from "three";
import { linear, vertexNormals } from "surface";

const LEAST = 1e-4; // weights below it move nothing that is seen
const SHAPE_S = 1.4, SHAPE_FRAMES = 14; // how long each shape comes and goes in the take of every expression

/** A take in which every shape comes and goes, one after another. */
export function everyExpression(shapes) {
  const frames = shapes.length * SHAPE_FRAMES + 1;
  const take = { name: "every expression", seconds: new Float32Array(frames), weights: new Float32Array(frames * shapes.length), angles: new Float32Array(9 * frames) };
  for (let k = 0; k < frames; k++) {
    take.seconds[k] = (k * SHAPE_S) / SHAPE_FRAMES;
    const shape = Math.min(Math.floor(k / SHAPE_FRAMES), shapes.length - 1);
    take.weights[k * shapes.length + shape] = 0.5 - 0.5 * Math.cos((2 * Math.PI * (k % SHAPE_FRAMES)) / SHAPE_FRAMES);
  }
  take.about = (second) => shapes[Math.min(Math.floor(second / SHAPE_S), shapes.length - 1)];
  return take;
}

/** A row of a table of the take at a time: between two frames, values lie on a straight line. */
export function rowAt(seconds, table, width, second) {
  let low = 0, high = seconds.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (seconds[middle] <= second) low = middle; else high = middle;
  }
  const span = seconds[high] - seconds[low];
  const share = span > 0 ? Math.min(Math.max((second - seconds[low]) / span, 0), 1) : 0;
  return Float32Array.from({ length: width }, (_, k) => (1 - share) * table[low * width + k] + share * table[high * width + k]);
}

/** One part of an avatar: its neutral vertices, and what each shape adds. */
class Part {
  constructor(said, arrays, shapes) {
    this.name = said.name;
    const of = (name) => arrays[`${said.name}.${name}`];
    this.rest = of("vertices");
    this.at = new Float32Array(this.rest.length);
    this.rows = of("rows");
    this.moves = of("moves");
    this.share = of("share");
    let first = 0;
    this.shapes = Object.entries(said.counts).map(([name, count]) => ({ row: shapes.indexOf(name), first, end: first += count }));
    if (of("faces")) this.mesh = drawn(said, this.at, of("faces"), of("colors"));
  }

  /** Set `at` to the vertices with weights in the order of the shapes, turned about a place. */
  pose(weights, turn, pivot) {
    const { at, rows, moves } = this;
    at.set(this.rest);
    for (const { row, first, end } of this.shapes) {
      const weight = weights[row];
      if (weight < LEAST) continue;
      for (let k = first; k < end; k++) {
        const to = 3 * rows[k];
        at[to] += weight * moves[3 * k];
        at[to + 1] += weight * moves[3 * k + 1];
        at[to + 2] += weight * moves[3 * k + 2];
      }
    }
    if (turn) this.turn(turn, pivot);
    if (this.mesh) {
      const { position, normal } = this.mesh.geometry.attributes;
      normal.array.set(vertexNormals(at, this.mesh.geometry.index.array));
      position.needsUpdate = normal.needsUpdate = true;
    }
    return at;
  }

  turn([[a, b, c], [d, e, f], [g, h, i]], [px, py, pz]) {
    const { at, share } = this;
    for (let k = 0; k < at.length; k += 3) {
      const s = share ? share[k / 3] : 1, x = at[k] - px, y = at[k + 1] - py, z = at[k + 2] - pz;
      at[k] += s * (a * x + b * y + c * z - x);
      at[k + 1] += s * (d * x + e * y + f * z - y);
      at[k + 2] += s * (g * x + h * y + i * z - z);
    }
  }
}

function drawn(said, at, faces, colors) {
  const made = new BufferGeometry(), place = new BufferAttribute(at, 3), normal = new BufferAttribute(new Float32Array(at.length), 3);
  for (const attribute of [place, normal]) attribute.setUsage(DynamicDrawUsage);
  made.setAttribute("position", place);
  made.setAttribute("normal", normal);
  if (colors) made.setAttribute("color", new BufferAttribute(linear(colors), 3));
  made.setIndex(new BufferAttribute(faces, 1));
  const [red, green, blue, opacity] = said.color;
  const mesh = new Mesh(made, new MeshStandardMaterial({
    color: new Color(red, green, blue), vertexColors: Boolean(colors), roughness: said.roughness,
    transparent: said.clear, opacity: said.clear ? opacity : 1, ...(said.two_sided && { side: DoubleSide }),
  }));
  mesh.frustumCulled = false;
  if (said.clear) mesh.renderOrder = 1;
  return mesh;
}

/** The rows of a turn about y, then about the turned x, then about the turned z. */
export function turned(yaw, pitch, roll) {
  const [cy, sy, cx, sx, cz, sz] = [yaw, pitch, roll].flatMap((angle) => [Math.cos(angle), Math.sin(angle)]);
  return [
    [cy * cz + sy * sx * sz, sy * sx * cz - cy * sz, sy * cx],
    [cx * sz, cx * cz, -sx],
    [cy * sx * sz - sy * cz, sy * sz + cy * sx * cz, cy * cx],
  ];
}

/** All that plays on one head. */
class Face {
  constructor(said, arrays, shapes) {
    this.key = said.key;
    this.pivot = said.pivot;
    this.parts = Object.fromEntries(said.parts.map((part) => [part.name, new Part(part, arrays, shapes)]));
    this.group = new Group();
    for (const part of Object.values(this.parts)) if (part.mesh) this.group.add(part.mesh);
  }

  /** The head's vertices with weights, and its head turned by yaw, pitch and roll; the other parts follow. */
  pose(weights, [yaw, pitch, roll]) {
    const turn = yaw || pitch || roll ? turned(yaw, pitch, roll) : null;
    for (const part of Object.values(this.parts)) part.pose(weights, turn, this.pivot);
    const both = (kind) => Float32Array.from([...this.parts[`${kind}_left`].at, ...this.parts[`${kind}_right`].at]);
    return { vertices: this.parts.skin.at, ball: both("eye"), cornea: both("cornea") };
  }

  dispose() {
    for (const { mesh } of Object.values(this.parts)) { mesh?.geometry.dispose(); mesh?.material.dispose(); }
  }
}

/**
 * The clock of a take. `key()` names the shown head, `ask()` asks the server for all that plays on it,
 * `told(player)` is called whenever the bar of the take has to show something else.
 */
export class Player {
  constructor(view, shapes, { key, ask, told }) {
    Object.assign(this, { view, shapes, key, ask, told, take: null, face: null, second: 0, playing: false, shown: false, turning: true, waiting: "" });
  }

  get lasts() { return this.take ? this.take.seconds[this.take.seconds.length - 1] : 0; }
  get ready() { return this.face?.key === this.key(); }

  /** Take another take; its first frame is shown. */
  load(take) {
    this.take = take;
    this.playing = false;
    this.seek(0);
  }

  receive(said, arrays) {
    if (this.face) this.view.removeParts(this.face.group);
    this.face?.dispose();
    this.face = new Face(said, arrays, this.shapes);
    const waiting = this.waiting;
    this.waiting = "";
    if (waiting === "play") this.play(); else if (waiting) this.seek(this.second);
  }

  /** Show the frame at a time. */
  seek(second) {
    this.second = Math.min(Math.max(second, 0), this.lasts);
    this.began = performance.now() - 1000 * this.second;
    if (this.prepared("seek")) this.show();
    this.told(this);
  }

  play() {
    if (!this.take || !this.prepared("play")) { this.told(this); return; }
    if (this.second >= this.lasts) this.second = 0;
    this.began = performance.now() - 1000 * this.second;
    this.playing = true;
    this.told(this);
    this.tick();
  }

  pause() {
    this.playing = false;
    if (this.waiting === "play") this.waiting = "";
    this.told(this);
  }

  toggle() { if (this.playing || this.waiting === "play") this.pause(); else this.play(); }

  /** The view shows something else; the take waits where it is. */
  leave() {
    if (!this.shown && !this.playing) return;
    this.playing = this.shown = false;
    this.told(this);
  }

  /** Put the take away, and show the head itself. */
  close() {
    const was = this.shown;
    this.take = null;
    this.waiting = "";
    this.leave();
    if (was) this.view.showStill(this.view.still);
    this.told(this);
  }

  /** What was asked of the server did not come. */
  fail() { if (this.waiting) { this.waiting = ""; this.told(this); } }

  prepared(what) {
    if (this.ready) return true;
    if (!this.waiting) this.ask();
    this.waiting = what;
    return false;
  }

  tick() {
    if (!this.playing) return;
    if (!this.ready) { this.playing = false; this.play(); return; }
    this.second = Math.min((performance.now() - this.began) / 1000, this.lasts); // a slow machine drops frames
    this.show();
    if (this.second >= this.lasts) this.playing = false; else requestAnimationFrame(() => this.tick());
    this.told(this);
  }

  /** The weights now, in the order of the shapes. */
  get weights() { return rowAt(this.take.seconds, this.take.weights, this.shapes.length, this.second); }

  show() {
    const angles = this.turning ? rowAt(this.take.seconds, this.take.angles, 9, this.second) : [0, 0, 0];
    this.shown = true;
    this.view.showPosed(this.face.pose(this.weights, angles), this.face.group);
  }
}
