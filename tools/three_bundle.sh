#!/bin/sh
# Bundle the parts of three.js that the studio's page uses: sh tools/three_bundle.sh
# Needs node and npm. Its licence lies beside it.
set -eu
out="$(cd "$(dirname "$0")/../src/imhead/studio/web/client" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y > /dev/null
npm install --silent three@0.187.0 esbuild@0.28.2
cat > entry.js <<'END'
export {
  BufferAttribute, BufferGeometry, CanvasTexture, Color, DirectionalLight, DoubleSide, DynamicDrawUsage, Group,
  HemisphereLight, Mesh, MeshBasicMaterial, MeshMatcapMaterial, MeshStandardMaterial, PerspectiveCamera, Points,
  PointsMaterial, Scene, SRGBColorSpace, Texture, Vector2, Vector3, WebGLRenderer,
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
END
npx esbuild entry.js --bundle --format=esm --minify --legal-comments=inline --outfile="$out/three.js"
cp node_modules/three/LICENSE "$out/three.LICENSE"
