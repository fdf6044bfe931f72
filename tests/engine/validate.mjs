// Khronos's validator on one file: prints its issues as JSON. node validate.mjs NODE_MODULES FILE
import fs from "node:fs";
import { createRequire } from "node:module";

const [packages, path] = process.argv.slice(2);
const validator = createRequire(`${packages}/`)("gltf-validator");
const report = await validator.validateBytes(new Uint8Array(fs.readFileSync(path)));
console.log(JSON.stringify(report.issues));
