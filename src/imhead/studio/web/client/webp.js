// An animated WebP from the WebP pictures that a browser makes of a canvas. Format: RIFF, VP8X, ANIM, then ANMF frames.

const KEPT = ["ALPH", "VP8 ", "VP8L"];

function number(value, bytes) {
  return Uint8Array.from({ length: bytes }, (_, k) => (value >>> (8 * k)) & 255);
}

function chunk(name, ...parts) {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  return [new TextEncoder().encode(name), number(size, 4), ...parts, new Uint8Array(size % 2)];
}

/** The picture itself, without the file around it. */
function inside(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const found = [];
  for (let at = 12; at + 8 <= file.length;) {
    const name = String.fromCharCode(...file.subarray(at, at + 4));
    const size = view.getUint32(at + 4, true);
    if (KEPT.includes(name)) found.push(...chunk(name, file.subarray(at + 8, at + 8 + size)));
    at += 8 + size + (size % 2);
  }
  return found;
}

/** An endless animation of WebP files of one size, each shown for some milliseconds. */
export function animation(files, width, height, milliseconds) {
  const frames = files.flatMap((file) =>
    chunk("ANMF", number(0, 3), number(0, 3), number(width - 1, 3), number(height - 1, 3), number(milliseconds, 3), number(2, 1), ...inside(file)));
  const body = [
    ...chunk("VP8X", number(0x12, 4), number(width - 1, 3), number(height - 1, 3)),
    ...chunk("ANIM", number(0, 4), number(0, 2)), ...frames,
  ];
  return new Blob(chunk("RIFF", new TextEncoder().encode("WEBP"), ...body), { type: "image/webp" });
}
