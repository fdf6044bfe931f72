// The 3D view: camera, lights, what the pointer does, thumbnails and the turntable.
import {
  BufferAttribute, BufferGeometry, Color, DirectionalLight, HemisphereLight, Mesh, MeshBasicMaterial,
  OrbitControls, PerspectiveCamera, Points, PointsMaterial, Scene, Vector2, Vector3, WebGLRenderer, DoubleSide,
} from "three";
import { HeadMesh, Look, linear, picture, tint } from "surface";
import { animation } from "webp";

const FIELD = 24, AWAY = 830, TARGET = [0, 6, 0], WIDE = 0.72; // width over height that holds a head
export const ANGLES = { front: 0, "¾": 38, profile: 90, back: 180 };
const THUMB = 96, SPIN = 512, SPIN_FRAMES = 48, SPIN_MS = 70;
const CLICK_PX = 5, SCAN_FORWARD = -1200; // a scan that lies on its head is drawn over it, by about 1.5 mm
const GRIP_REACH = 60, GRIP_MM = 1.5, GRIP_LEAST = 0.15; // reach of 255; mm of a pull; mm per standard deviation
// sky, ground, intensity; then colour, intensity and place of each lamp
const LIGHTS = {
  studio: [[0xffffff, 0x96908a, 1.3], [0xfff6ec, 2.3, -6, 7, 9], [0xe4eeff, 0.7, 9, 1, 6], [0xffffff, 1.2, 4, 6, -9]],
  soft: [[0xffffff, 0xcfc8c2, 2.6], [0xffffff, 0.6, 0, 8, 8]],
  side: [[0xffffff, 0x777777, 0.5], [0xfff2e2, 3.4, -10, 3, 2], [0xdfeaff, 0.25, 9, 2, 3]],
  top: [[0xffffff, 0x6d6d6d, 0.6], [0xffffff, 3.0, 0, 11, 4]],
};
export const LIGHT_NAMES = Object.keys(LIGHTS);

export class View {
  /** `topology` is what the server sends once; `on` is told of `pick`, `point`, `miss`, `grab`, `drag` and `drop`. */
  constructor(canvas, topology, on) {
    this.canvas = canvas;
    this.topology = topology;
    this.on = on;
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(FIELD, 1, 30, 6000);
    this.controls = new OrbitControls(this.camera, canvas);
    Object.assign(this.controls, { zoomToCursor: true, minDistance: 60, maxDistance: 3000, enableDamping: false, zoomSpeed: 1.2 });
    this.controls.addEventListener("change", () => this.draw());
    this.look = new Look();
    this.head = new HeadMesh(topology, this.look);
    this.before = new HeadMesh(topology, this.look);
    this.before.group.visible = false;
    this.scene.add(this.head.group, this.before.group);
    this.split = ""; // "beside": two halves, "split": one view that is parted
    this.part = 0.5; // where
    this.scans = [null, null]; // over the head, and over the other one
    this.playing = null; // parts of the avatar that plays a take
    this.lamps = [];
    this.still = null;
    this.hovered = -1;
    this.light("studio");
    this.turn("¾");
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.resize();
  }

  listen() {
    let down = null;
    const { canvas } = this;
    this.listenForGrabs();
    canvas.addEventListener("pointerdown", (event) => { down = event.button === 0 ? [event.clientX, event.clientY] : null; this.hover(-1); });
    canvas.addEventListener("pointerup", (event) => {
      if (!down || this.grip || Math.hypot(event.clientX - down[0], event.clientY - down[1]) > CLICK_PX) return;
      down = null;
      const region = this.regionAt(event);
      if (region >= 0) this.on.pick(region, event.shiftKey); else this.on.miss();
    });
    let asked = 0;
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons) return;
      cancelAnimationFrame(asked);
      asked = requestAnimationFrame(() => this.hover(this.regionAt(event), event));
    });
    canvas.addEventListener("pointerleave", () => { cancelAnimationFrame(asked); this.hover(-1); });
  }

  /** With `grabbing` on, a point of the selection can be dragged: it moves along the direction that fits best. */
  listenForGrabs() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      const found = this.grabbing && event.button === 0 ? this.hitAt(event) : null;
      const vertex = found?.corners[0];
      if (!found || !this.still || this.still.reach[vertex] < GRIP_REACH) return;
      this.controls.enabled = false; // before it sees this event: the head is not to turn
      canvas.setPointerCapture(event.pointerId);
      const size = (2 * found.away * Math.tan((FIELD * Math.PI) / 360)) / canvas.clientHeight / this.camera.zoom;
      this.grip = { vertex, size, x: event.clientX, y: event.clientY, ways: null, way: null };
      this.on.grab(vertex);
    }, true);
    canvas.addEventListener("pointermove", (event) => { if (this.grip) this.pull(event); });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => {
      if (!this.grip) return;
      if (this.grip.way) this.on.drop();
      this.controls.enabled = true;
      setTimeout(() => { this.grip = null; }); // a click is still to be told apart from it
    });
  }

  /** Where the held point can go. */
  hold(vertex, ways) {
    if (this.grip?.vertex === vertex) this.grip.ways = ways;
  }

  pull(event) {
    const grip = this.grip;
    if (!grip.ways) return;
    const right = new Vector3().setFromMatrixColumn(this.camera.matrixWorld, 0), up = new Vector3().setFromMatrixColumn(this.camera.matrixWorld, 1);
    const pulled = right.multiplyScalar((event.clientX - grip.x) * grip.size).addScaledVector(up, (grip.y - event.clientY) * grip.size);
    const first = !grip.way;
    if (first && pulled.length() < GRIP_MM) return;
    const along = (way) => pulled.dot(new Vector3(...way.step));
    const length = (way) => Math.hypot(...way.step) + 1e-9;
    if (first) {
      grip.way = grip.ways.filter((way) => length(way) > GRIP_LEAST).sort((a, b) => Math.abs(along(b)) / length(b) - Math.abs(along(a)) / length(a))[0];
      if (!grip.way) return;
    }
    const value = Math.max(-4, Math.min(4, grip.way.value + along(grip.way) / length(grip.way) ** 2));
    this.on.drag(grip.way, Math.round(100 * value) / 100, first);
  }

  /** The row of the region under the pointer; -1 beside the head. */
  regionAt(event) {
    const found = this.hitAt(event);
    if (!found || !this.still) return -1;
    const owners = found.corners.map((row) => this.still.owner[row]);
    return owners[1] === owners[2] ? owners[1] : owners[0];
  }

  /** The face under the pointer, and how far it is; null beside the head. */
  hitAt(event) {
    const box = this.canvas.getBoundingClientRect();
    let x = (event.clientX - box.left) / box.width;
    if (this.split && x < this.parted) return null;
    if (this.split === "beside") x = 2 * x - 1;
    const y = (event.clientY - box.top) / box.height;
    const way = new Vector3(2 * x - 1, 1 - 2 * y, 0.5).unproject(this.camera).sub(this.camera.position).normalize();
    return this.head.hit(this.camera.position, way);
  }

  hover(region, event) {
    this.on.point(region, event);
    if (region === this.hovered) return;
    this.hovered = region;
    const owner = this.still?.owner;
    this.head.mark(3, region < 0 || !owner ? null : owner.map((row) => (row === region ? 255 : 0)));
    this.draw();
  }

  /** Show a head that is about to change again. */
  showMoving(arrays) {
    this.head.place(arrays);
    this.head.paint(null);
    this.showParts(null);
    this.splitInTwo("");
    this.draw();
  }

  /** Show a frame of a take: vertices, and the other parts of the avatar. */
  showPosed(arrays, parts) {
    this.head.place(arrays);
    if (this.playing !== parts) {
      this.head.paint(null);
      for (const row of [0, 1, 2, 3]) this.head.mark(row, null);
      this.splitInTwo("");
      this.showParts(parts);
    }
    this.draw();
  }

  showParts(parts) {
    if (this.playing === parts) return;
    if (this.playing) this.scene.remove(this.playing);
    this.playing = parts;
    if (parts) this.scene.add(parts);
    this.showScans();
  }

  removeParts(parts) { if (this.playing === parts) this.showParts(null); }

  /** Show the exact surface, its marks, and what lies beside it: in two halves, or parted. */
  showStill(arrays, split = this.stillSplit) {
    this.still = arrays;
    this.stillSplit = split;
    this.showParts(null);
    this.head.place(arrays);
    this.head.paint(arrays.colors ?? null);
    this.head.mark(0, arrays.colors ? null : arrays.reach);
    this.head.mark(1, arrays.colors ? null : arrays.mirror);
    this.head.mark(2, arrays.colors ? null : arrays.locked);
    this.hovered = -1;
    this.head.mark(3, null);
    if (arrays.beside_vertices) {
      this.before.place({ vertices: arrays.beside_vertices, ball: arrays.beside_ball, cornea: arrays.beside_cornea });
      this.before.paint(null);
    }
    this.splitInTwo(arrays.beside_vertices ? split : "");
    this.draw();
  }

  /** `beside`, `split`, or nothing. */
  splitInTwo(how) {
    if (this.split === how) return;
    this.split = how;
    this.resize();
  }

  /** Where the view is parted, as a share of its width. */
  get parted() { return this.split === "split" ? this.part : 0.5; }

  partAt(share) {
    this.part = Math.min(Math.max(share, 0.02), 0.98);
    this.draw();
  }

  /** Whether the other head wears the skin that this one wears. */
  dressOther(same) {
    if (this.before.bare === !same) return;
    this.before.bare = !same;
    this.before.paint();
    this.draw();
  }

  /** Show the scans over their heads; what is not there is removed. */
  showScan(arrays) {
    for (const scan of this.scans) if (scan) { this.scene.remove(scan); scan.geometry.dispose(); }
    this.scans = ["", "beside_"].map((side) => (arrays[`${side}points`] ? scanMesh(arrays, side) : null));
    for (const scan of this.scans) if (scan) this.scene.add(scan);
    this.showScans();
    this.scanLook(this.scanAs ?? "distance", this.opacity ?? 0.6);
  }

  /** Of the scans the one over a head, unless a take plays: it would not move. */
  showScans(side = 0) {
    this.scans.forEach((scan, k) => { if (scan) scan.visible = k === side && !this.playing; });
  }

  /** How the scans are drawn: `plain` or by `distance`, and their opacity. */
  scanLook(as, opacity) {
    this.scanAs = as;
    this.opacity = opacity;
    for (const scan of this.scans) {
      if (!scan) continue;
      const { material } = scan;
      material.vertexColors = as === "distance";
      material.color.set(as === "distance" ? 0xffffff : 0x78a0cd);
      material.opacity = opacity;
      material.depthWrite = opacity > 0.95;
      material.needsUpdate = true;
    }
    this.draw();
  }

  async wear(key, skin, eye) {
    this.look.skin.map = await picture(skin);
    this.look.skin.needsUpdate = true;
    this.look.skinKey = key;
    await this.wearEyes(eye);
    this.repaint();
  }

  async wearEyes(eye) {
    this.look.eye.map = await picture(eye);
    this.look.eye.needsUpdate = true;
    this.draw();
  }

  material(name) { this.look.material = name; this.repaint(); }
  wireframe(on) { this.look.wireframe(on); this.draw(); }
  tint(on) { tint.value = on ? 1 : 0; this.draw(); }
  repaint() { this.head.paint(); this.before.paint(); this.draw(); }

  light(name) {
    for (const lamp of this.lamps) this.scene.remove(lamp);
    const [[sky, ground, intensity], ...beams] = LIGHTS[name];
    this.lamps = [new HemisphereLight(sky, ground, intensity), ...beams.map(([color, strength, ...place]) => {
      const lamp = new DirectionalLight(color, strength);
      lamp.position.set(...place);
      return lamp;
    })];
    this.scene.add(...this.lamps);
    this.draw();
  }

  turn(name) {
    this.aim(TARGET, AWAY, (ANGLES[name] * Math.PI) / 180);
  }

  aim(target, away, angle) {
    this.controls.target.set(...target);
    this.camera.position.set(target[0] + away * Math.sin(angle), target[1] + 0.04 * away, target[2] + away * Math.cos(angle));
    this.camera.lookAt(this.controls.target);
    this.controls.update();
    this.draw();
  }

  /** Bring the selection, or the whole head, to the middle and close, from where the camera looks. */
  frame() {
    if (!this.still) return;
    const { all, middle, radius } = this.head.bounds(this.still.reach);
    if (all) { this.turn("¾"); return; }
    const way = this.camera.position.clone().sub(this.controls.target).normalize();
    const away = Math.max(150, (1.5 * radius) / Math.tan((FIELD * Math.PI) / 360));
    this.controls.target.set(...middle);
    this.camera.position.set(...middle).addScaledVector(way, away);
    this.controls.update();
    this.draw();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (!width || !height) return;
    this.renderer.setSize(width, height, false);
    this.camera.aspect = (this.split === "beside" ? width / 2 : width) / height;
    this.camera.zoom = Math.min(1, this.camera.aspect / WIDE); // in a narrow view the whole head, smaller
    this.camera.updateProjectionMatrix();
    this.draw();
  }

  /** Draw once, at the next frame. */
  draw() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => { this.asked = 0; this.render(); });
  }

  render() {
    const size = this.renderer.getSize(new Vector2());
    this.renderer.setScissorTest(Boolean(this.split));
    if (!this.split) {
      this.renderer.setViewport(0, 0, size.x, size.y);
      this.renderer.render(this.scene, this.camera);
      return;
    }
    const edge = Math.round(this.parted * size.x), halves = this.split === "beside";
    for (const [side, left, width] of [[1, 0, edge], [0, edge, size.x - edge]]) {
      this.showOnly(side);
      this.renderer.setViewport(halves ? left : 0, 0, halves ? width : size.x, size.y);
      this.renderer.setScissor(left, 0, width, size.y);
      this.renderer.render(this.scene, this.camera);
    }
    this.showOnly(0);
  }

  /** Of the two heads and their scans only those of one side: 0 the head, 1 the other one. */
  showOnly(side) {
    this.head.group.visible = side === 0;
    this.before.group.visible = side === 1;
    this.showScans(side);
  }

  /** A small picture of the shown head, or of another one's vertices, as a data URL. */
  thumbnail(arrays = null) {
    const mesh = arrays ? this.before : this.head;
    if (arrays) { this.before.place(arrays); this.before.paint(null); }
    const strength = tint.value, ratio = this.renderer.getPixelRatio();
    const camera = new PerspectiveCamera(FIELD, 1, 30, 3000);
    camera.position.set(270, 30, 620);
    camera.lookAt(0, 2, 0);
    tint.value = 0;
    this.showOnly(mesh === this.head ? 0 : 1);
    this.showScans(-1);
    if (this.playing) this.playing.visible = mesh === this.head;
    this.renderer.setScissorTest(true);
    this.renderer.setViewport(0, 0, THUMB / ratio, THUMB / ratio);
    this.renderer.setScissor(0, 0, THUMB / ratio, THUMB / ratio);
    this.renderer.render(this.scene, camera);
    const small = document.createElement("canvas");
    small.width = small.height = THUMB;
    small.getContext("2d").drawImage(this.canvas, 0, this.canvas.height - THUMB, THUMB, THUMB, 0, 0, THUMB, THUMB);
    tint.value = strength;
    this.showOnly(0);
    if (this.playing) this.playing.visible = true;
    this.render();
    return small.toDataURL();
  }

  /** An animated WebP of the head turning once. `told(part)` says how far it is, and returns false to stop. */
  async turntable(told) {
    const { x: width, y: height } = this.renderer.getSize(new Vector2()), ratio = this.renderer.getPixelRatio();
    const strength = tint.value, camera = new PerspectiveCamera(FIELD, 1, 30, 3000), files = [];
    const ground = new Color(getComputedStyle(document.documentElement).getPropertyValue("--near").trim());
    const wasSplit = this.split;
    try {
      for (let k = 0; k < SPIN_FRAMES; k++) {
        if (!told(k / SPIN_FRAMES)) return null;
        const angle = (2 * Math.PI * k) / SPIN_FRAMES;
        camera.position.set(760 * Math.sin(angle), 36, 760 * Math.cos(angle));
        camera.lookAt(...TARGET);
        this.split = "";
        this.scene.background = ground;
        tint.value = 0;
        this.renderer.setPixelRatio(1);
        this.renderer.setSize(SPIN, SPIN, false);
        this.renderer.setScissorTest(false);
        this.renderer.setViewport(0, 0, SPIN, SPIN);
        this.renderer.render(this.scene, camera);
        const blob = await new Promise((done) => this.canvas.toBlob(done, "image/webp", 0.86));
        if (!blob || blob.type !== "image/webp") throw new Error("this browser cannot write WebP pictures; use another one");
        files.push(new Uint8Array(await blob.arrayBuffer()));
      }
      return animation(files, SPIN, SPIN, SPIN_MS);
    } finally {
      this.split = wasSplit;
      this.scene.background = null;
      tint.value = strength;
      this.renderer.setPixelRatio(ratio);
      this.renderer.setSize(width, height, false);
      this.draw();
    }
  }
}

/** A scan as it lies in the head's frame. */
function scanMesh(arrays, side) {
  const made = new BufferGeometry(), faces = arrays[`${side}faces`];
  made.setAttribute("position", new BufferAttribute(arrays[`${side}points`], 3));
  made.setAttribute("color", new BufferAttribute(linear(arrays[`${side}heat`]), 3));
  if (faces) made.setIndex(new BufferAttribute(faces, 1));
  const scan = faces
    ? new Mesh(made, new MeshBasicMaterial({ transparent: true, side: DoubleSide, polygonOffset: true, polygonOffsetUnits: SCAN_FORWARD }))
    : new Points(made, new PointsMaterial({ size: 1.6, transparent: true }));
  scan.renderOrder = 2;
  return scan;
}
