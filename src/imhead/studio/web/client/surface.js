// A head as three.js draws it: skin, eyeballs and corneas, with tints that say what an edit reaches.
import {
  BufferAttribute, BufferGeometry, CanvasTexture, Color, DynamicDrawUsage, Group, Mesh, MeshMatcapMaterial,
  MeshStandardMaterial, SRGBColorSpace, Texture,
} from "three";

export const CLAY = new Color(0xd9c4b5);
const WHITE = new Color(0xffffff);
const LINEAR = Float32Array.from({ length: 256 }, (_, k) => {
  const value = k / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
});

/** How strongly tints are drawn; shared by all heads. */
export const tint = { value: 1 };

// mark: x reach of the selection, y its mirror image, z locked, w under the pointer
const MARKED = (shader) => {
  shader.uniforms.tint = tint;
  shader.vertexShader = shader.vertexShader
    .replace("#include <common>", "#include <common>\nattribute vec4 mark;\nvarying vec4 vMark;")
    .replace("#include <begin_vertex>", "#include <begin_vertex>\nvMark = mark;");
  shader.fragmentShader = shader.fragmentShader
    .replace("#include <common>", "#include <common>\nvarying vec4 vMark;\nuniform float tint;")
    .replace("#include <color_fragment>", `#include <color_fragment>
      diffuseColor.rgb = mix(diffuseColor.rgb, vec3(0.009, 0.19, 0.40), 0.72 * tint * vMark.x);
      diffuseColor.rgb = mix(diffuseColor.rgb, vec3(0.05, 0.36, 0.30), 0.62 * tint * vMark.y);
      float stripe = smoothstep(0.35, 0.5, abs(fract((gl_FragCoord.x + gl_FragCoord.y) / 11.0) - 0.5) * 2.0);
      diffuseColor.rgb = mix(diffuseColor.rgb, vec3(0.12, 0.05, 0.16), 0.55 * tint * stripe * smoothstep(0.3, 0.7, vMark.z));
      diffuseColor.rgb = mix(diffuseColor.rgb, vec3(0.87, 0.37, 0.02), 0.36 * smoothstep(0.0, 1.0, vMark.w));`);
};

/** A material that shows marks. */
function marked(material) {
  material.onBeforeCompile = MARKED;
  material.customProgramCacheKey = () => "marked";
  return material;
}

/** A ball lit from the upper left, as a matcap: light that turns with the camera. */
function matcapBall() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 256;
  const pen = canvas.getContext("2d");
  const light = pen.createRadialGradient(95, 80, 5, 128, 128, 132);
  [[0, "#fff7ec"], [0.25, "#d9c9bb"], [0.6, "#8a7a72"], [0.85, "#4b4348"], [1, "#565c6b"]].forEach(([at, color]) => light.addColorStop(at, color));
  pen.fillStyle = light;
  pen.fillRect(0, 0, 256, 256);
  const ball = new CanvasTexture(canvas);
  ball.colorSpace = SRGBColorSpace;
  return ball;
}

/** Materials that all heads share, by what the person chose. */
export class Look {
  constructor() {
    this.clay = marked(new MeshStandardMaterial({ vertexColors: true, roughness: 0.62 }));
    this.skin = marked(new MeshStandardMaterial({ vertexColors: true, roughness: 0.55 }));
    this.matcap = marked(new MeshMatcapMaterial({ vertexColors: true, matcap: matcapBall() }));
    this.eye = new MeshStandardMaterial({ color: 0xffffff, roughness: 0.3 });
    this.cornea = new MeshStandardMaterial({ color: 0x0a0a0d, transparent: true, opacity: 0.16, roughness: 0.03 });
    this.material = "clay";
    this.skinKey = "";
  }

  get current() {
    return this.material === "skin" && this.skin.map ? this.skin : this.material === "matcap" ? this.matcap : this.clay;
  }

  wireframe(on) {
    for (const material of [this.clay, this.skin, this.matcap]) material.wireframe = on;
  }
}

/** A texture from the bytes of a JPEG. */
export async function picture(bytes) {
  const image = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }), { imageOrientation: "flipY" });
  const texture = new Texture(image);
  texture.colorSpace = SRGBColorSpace;
  texture.flipY = false;
  texture.generateMipmaps = true;
  texture.anisotropy = 4;
  texture.needsUpdate = true;
  return texture;
}

/** The parts of one head. `topology` is what the server sends once. */
export class HeadMesh {
  constructor(topology, look) {
    this.topology = topology;
    this.look = look;
    const count = topology.vertex.length;
    this.vertices = null;
    this.group = new Group();
    this.skin = new Mesh(geometry(count, topology.faces, topology.uv), look.clay);
    this.colors = new BufferAttribute(new Float32Array(3 * count), 3);
    this.marks = new BufferAttribute(new Uint8Array(4 * count), 4, true);
    this.skin.geometry.setAttribute("color", this.colors);
    this.skin.geometry.setAttribute("mark", this.marks);
    this.ball = new Mesh(geometry(topology.ball_uv.length / 2, topology.ball_faces, topology.ball_uv), look.eye);
    this.cornea = new Mesh(geometry(topology.cornea_uv.length / 2, topology.cornea_faces, topology.cornea_uv), look.cornea);
    this.cornea.renderOrder = 1;
    for (const part of [this.skin, this.ball, this.cornea]) part.frustumCulled = false;
    this.group.add(this.skin, this.ball, this.cornea);
    this.heat = null;
    this.bare = false; // another person's skin is not worn
    this.paint();
  }

  /** Show vertices; with normals where the surface is exact. */
  place({ vertices, normals, ball, cornea }) {
    this.vertices = vertices;
    gather(this.skin.geometry.attributes.position, vertices, this.topology.vertex);
    gather(this.skin.geometry.attributes.normal, normals ?? vertexNormals(vertices, this.topology.every_face), this.topology.vertex);
    for (const [part, places] of [[this.ball, ball], [this.cornea, cornea]]) {
      const to = part.geometry.attributes;
      to.position.array.set(places);
      to.position.needsUpdate = true;
      to.normal.array.set(vertexNormals(places, part.geometry.index.array));
      to.normal.needsUpdate = true;
    }
  }

  /** Colours per vertex of a heat map, sRGB bytes; null for the plain head. */
  paint(heat = this.heat) {
    this.heat = heat;
    const to = this.colors.array, from = this.topology.vertex;
    const material = heat || (this.bare && this.look.current === this.look.skin) ? this.look.clay : this.look.current;
    const plain = (material === this.look.clay ? CLAY : WHITE).toArray();
    for (let k = 0; k < from.length; k++) {
      for (let c = 0; c < 3; c++) to[3 * k + c] = heat ? LINEAR[heat[3 * from[k] + c]] : plain[c];
    }
    this.colors.needsUpdate = true;
    this.skin.material = material;
  }

  /** Set one of the marks from bytes per vertex of the template. */
  mark(row, values) {
    const to = this.marks.array, from = this.topology.vertex;
    for (let k = 0; k < from.length; k++) to[4 * k + row] = values ? values[from[k]] : 0;
    this.marks.needsUpdate = true;
  }

  /** The face of the template that a ray hits first, and where; null if it misses. */
  hit(origin, way) {
    const at = this.vertices, faces = this.topology.every_face;
    if (!at) return null;
    let best = Infinity, found = -1;
    for (let f = 0; f < faces.length; f += 3) {
      const a = 3 * faces[f], b = 3 * faces[f + 1], c = 3 * faces[f + 2];
      const ux = at[b] - at[a], uy = at[b + 1] - at[a + 1], uz = at[b + 2] - at[a + 2];
      const vx = at[c] - at[a], vy = at[c + 1] - at[a + 1], vz = at[c + 2] - at[a + 2];
      const px = way.y * vz - way.z * vy, py = way.z * vx - way.x * vz, pz = way.x * vy - way.y * vx;
      const det = ux * px + uy * py + uz * pz;
      if (det < 1e-9) continue; // seen from behind
      const tx = origin.x - at[a], ty = origin.y - at[a + 1], tz = origin.z - at[a + 2];
      const u = tx * px + ty * py + tz * pz;
      if (u < 0 || u > det) continue;
      const qx = ty * uz - tz * uy, qy = tz * ux - tx * uz, qz = tx * uy - ty * ux;
      const v = way.x * qx + way.y * qy + way.z * qz;
      if (v < 0 || u + v > det) continue;
      const away = (vx * qx + vy * qy + vz * qz) / det;
      if (away > 0 && away < best) { best = away; found = f; }
    }
    return found < 0 ? null : { corners: [faces[found], faces[found + 1], faces[found + 2]], away: best };
  }

  /** Middle and radius of the vertices whose mark is strong; of the whole head if none is. */
  bounds(reach) {
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    const all = !reach || !reach.some((value) => value > 70);
    for (let k = 0; k < this.vertices.length / 3; k++) {
      if (!all && reach[k] <= 70) continue;
      for (let c = 0; c < 3; c++) {
        low[c] = Math.min(low[c], this.vertices[3 * k + c]);
        high[c] = Math.max(high[c], this.vertices[3 * k + c]);
      }
    }
    return { all, middle: low.map((value, c) => (value + high[c]) / 2), radius: Math.hypot(...low.map((value, c) => high[c] - value)) / 2 };
  }
}

function geometry(count, faces, uv) {
  const made = new BufferGeometry();
  for (const name of ["position", "normal"]) {
    const attribute = new BufferAttribute(new Float32Array(3 * count), 3);
    attribute.setUsage(DynamicDrawUsage);
    made.setAttribute(name, attribute);
  }
  made.setAttribute("uv", new BufferAttribute(uv, 2));
  made.setIndex(new BufferAttribute(faces, 1));
  return made;
}

function gather(attribute, values, rows) {
  const to = attribute.array;
  for (let k = 0; k < rows.length; k++) {
    const from = 3 * rows[k];
    to[3 * k] = values[from];
    to[3 * k + 1] = values[from + 1];
    to[3 * k + 2] = values[from + 2];
  }
  attribute.needsUpdate = true;
}

/** Normals of vertices, weighted by the area of their faces. */
export function vertexNormals(at, faces) {
  const sum = new Float32Array(at.length);
  for (let f = 0; f < faces.length; f += 3) {
    const a = 3 * faces[f], b = 3 * faces[f + 1], c = 3 * faces[f + 2];
    const ux = at[b] - at[a], uy = at[b + 1] - at[a + 1], uz = at[b + 2] - at[a + 2];
    const vx = at[c] - at[a], vy = at[c + 1] - at[a + 1], vz = at[c + 2] - at[a + 2];
    const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
    for (const row of [a, b, c]) { sum[row] += x; sum[row + 1] += y; sum[row + 2] += z; }
  }
  for (let k = 0; k < sum.length; k += 3) {
    const length = Math.hypot(sum[k], sum[k + 1], sum[k + 2]) || 1;
    sum[k] /= length; sum[k + 1] /= length; sum[k + 2] /= length;
  }
  return sum;
}

/** sRGB bytes as linear floats, for colours of vertices. */
export function linear(bytes) {
  return Float32Array.from(bytes, (value) => LINEAR[value]);
}
