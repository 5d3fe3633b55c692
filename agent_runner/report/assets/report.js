"use strict";
// Draws a report's conversation. What an agent wrote becomes text nodes only: there is no innerHTML here, and the
// page's content policy would refuse one. Characters between U+0001 and U+0002 were spelled out beforehand.

const data = JSON.parse(document.getElementById("data").textContent);
const steps = data.steps;
const BLOCK = 12; // steps drawn and dropped together
const FIRST = { letters: 1600, lines: 16 }; // of a long text, before somebody asks for more
const MORE = { letters: 65536, lines: 2000 };
const ROWS = 50;
const KINDS = ["message", "model", "action", "egress", "person", "sandbox", "limit", "ledger"];
const TAGS = ["allowed", "denied", "asked", "noted", "failed", "broken"];
const NOTABLE = ["denied", "asked", "noted", "failed", "broken"];

const byId = (id) => document.getElementById(id);

function make(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Text in which spelled-out characters stand in elements of their own. */
function spelled(text) {
  const made = document.createDocumentFragment();
  text.split(/[\u0001\u0002]/).forEach((piece, place) => {
    if (piece) made.append(place % 2 ? make("span", "spelled", piece) : piece);
  });
  return made;
}

const plain = (text) => text.replace(/[\u0001\u0002]/g, "");

// ---- what somebody opened, kept while a step is not drawn ----

const opened = new Map();
const amounts = new Map();

function folding(key, folded, label, fill) {
  const made = make("details", "part");
  const summary = make("summary", "", spelled(label));
  made.append(summary);
  made.open = opened.get(key) ?? !folded;
  let filled = false;
  const open = () => {
    if (made.open && !filled) {
      filled = true;
      made.append(fill());
    }
  };
  open();
  made.addEventListener("toggle", () => {
    opened.set(key, made.open);
    open();
  });
  return made;
}

/** Where to cut a text so that a first look is short; never inside a spelled character. */
function cut(text, from, most) {
  let end = Math.min(text.length, from + most.letters);
  let lines = 0;
  for (let at = text.indexOf("\n", from); at >= 0 && at < end; at = text.indexOf("\n", at + 1)) {
    lines += 1;
    if (lines >= most.lines) {
      end = at + 1;
      break;
    }
  }
  if (text.length - end < 200) end = text.length;
  const begun = text.lastIndexOf("\u0001", end - 1);
  if (begun >= from && text.indexOf("\u0002", begun) >= end) end = text.indexOf("\u0002", begun) + 1;
  return end;
}

/** A text that grows on request. `draw` makes what shows a piece of it. */
function growing(key, text, box, draw) {
  const whole = make("div", "", box);
  const button = make("button", "more");
  button.type = "button";
  let at = 0;
  const grow = (most) => {
    const end = cut(text, at, most);
    box.append(draw(text.slice(at, end)));
    at = end;
    button.textContent = `Show more (${(text.length - at).toLocaleString("en")} characters left)`;
    if (at >= text.length) button.remove();
  };
  grow(FIRST);
  while (at < Math.min(text.length, amounts.get(key) ?? 0)) grow(MORE);
  if (at < text.length) whole.append(button);
  button.addEventListener("click", () => {
    grow(MORE);
    amounts.set(key, at);
    highlight(box);
  });
  return whole;
}

function diffLines(text) {
  const made = document.createDocumentFragment();
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  for (const line of lines) {
    let kind = "";
    if (/^(diff |index |--- |\+\+\+ |new |deleted |old |rename |similarity )/.test(line)) kind = "head";
    else if (line.startsWith("@@")) kind = "hunk";
    else if (line.startsWith("+")) kind = "added";
    else if (line.startsWith("-")) kind = "removed";
    made.append(make("span", kind, spelled(line || " ")));
  }
  return made;
}

function drawText(key, part) {
  const left = part.left_out ? [make("p", "absent", `${part.left_out.toLocaleString("en")} bytes more are in the ledger`)] : [];
  let shown;
  if (part.form === "diff") shown = growing(key, part.text, make("pre", "diff"), diffLines);
  else if (part.form === "code") shown = growing(key, part.text, make("pre", "code"), spelled);
  else shown = growing(key, part.text, make("div", "prose"), spelled);
  shown.append(...left);
  return shown;
}

/** A command line, each word apart; the first `named` of them are the command's name. */
function drawWords(key, words, named = 0) {
  const made = make("span", "words");
  words.forEach((word, number) => {
    const isPlain = /^[\w\-./:=,@%+^]+$/.test(word);
    const inner = make("span", number < named ? "word command" : isPlain ? "word" : "word quoted");
    if (word.length > FIRST.letters) inner.append(growing(`${key}.${number}`, word, make("span", ""), spelled));
    else inner.append(word ? spelled(word) : "\u2018\u2019");
    made.append(inner, " ");
  });
  return made;
}

/** Let a box that has to be scrolled sideways be reached by keyboard, too. */
function reachable(box) {
  requestAnimationFrame(() => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  });
  return box;
}

function drawTable(part) {
  const box = reachable(make("div", "scroll"));
  const body = make("tbody");
  const head = make("tr", "", ...part.head.map((cell) => make("th", "", cell)));
  for (const cell of head.children) cell.scope = "col";
  box.append(make("table", "", make("thead", "", head), body));
  let at = 0;
  const button = make("button", "more");
  button.type = "button";
  const grow = () => {
    for (const row of part.rows.slice(at, at + ROWS)) {
      body.append(make("tr", "", ...row.map((cell) => make("td", "mono", spelled(cell)))));
    }
    at += ROWS;
    button.textContent = `Show more rows (${part.rows.length - at} left)`;
    if (at >= part.rows.length) button.remove();
  };
  grow();
  if (at < part.rows.length) box.append(button);
  button.addEventListener("click", grow);
  return box;
}

function drawWhy(part) {
  const made = make("div", "why", make("span", "code-word", spelled(part.code)), " ", make("span", "", spelled(part.message)));
  if (part.hint) made.append(make("div", "hint", "mend: ", spelled(part.hint)));
  if (part.rule) made.append(make("div", "rule", "rule: ", spelled(part.rule)));
  return made;
}

function drawPart(key, part) {
  switch (part.form) {
    case "why":
      return drawWhy(part);
    case "words":
      return make("div", "part", make("span", "part-label", spelled(part.label), ": "), drawWords(key, part.words));
    case "absent":
      return make("div", part.alarming ? "part absent alarming" : "part absent", spelled(part.label), ": ", spelled(part.why));
    case "table":
      return folding(key, part.folded, part.label, () => drawTable(part));
    default:
      if (part.folded || part.form !== "text") return folding(key, part.folded, part.label, () => drawText(key, part));
      return make("div", "part", drawText(key, part));
  }
}

function clock(ms) {
  const seconds = Math.floor(ms / 1000);
  const two = (n) => String(n).padStart(2, "0");
  return `+${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

function drawStep(place) {
  const step = steps[place];
  const made = make("article", `step step-${step.kind}${step.tags.includes("asked") ? " tag-asked-step" : ""}${step.tags.includes("broken") ? " step-broken" : ""}`);
  made.id = `e${step.seq}`;
  made.dataset.place = place;
  made.tabIndex = -1;
  const link = make("a", "", `#${step.seq}`);
  link.href = `#e${step.seq}`;
  link.setAttribute("aria-label", `entry ${step.seq}`);
  const time = make("span", "", clock(step.ms));
  time.title = plain(step.at);
  const when = make("div", "when", link, time);
  const named = step.name.split(" ");
  const isSpelled = step.words.length > 0 && named.every((word, number) => step.words[number] === word);
  const head = make("div", "step-head");
  if (!isSpelled) head.append(make("span", "kind", spelled(step.name)));
  if (step.words.length) head.append(drawWords(place, step.words, isSpelled ? named.length : 0));
  if (step.title) head.append(make("span", "title", spelled(step.title)));
  for (const tag of step.tags) head.append(make("span", `tag tag-${tag}`, tag));
  for (const note of step.notes) head.append(make("span", "note", spelled(note)));
  const parts = step.parts.map((part, number) => drawPart(`${place}.${number}`, part));
  made.append(when, make("div", "what", head, ...parts));
  if (place === current) made.classList.add("current");
  made.setAttribute("aria-label", `${plain(step.name)} ${plain(step.title)}`.trim());
  return made;
}

// ---- which steps are shown ----

const filter = { words: "", kinds: new Set(), tags: new Set() };
let visible = [];
let haystacks = [];

function haystack(place) {
  haystacks[place] ??= plain(textsOf(steps[place]).join("\n")).toLowerCase();
  return haystacks[place];
}

function textsOf(step) {
  const told = [step.name, step.title, step.words.join(" "), step.notes.join(" "), step.tags.join(" ")];
  for (const part of step.parts) {
    told.push(part.label ?? "", part.text ?? "", part.why ?? "", part.code ?? "", part.message ?? "", part.hint ?? "", part.rule ?? "");
    for (const row of part.rows ?? []) told.push(row.join(" "));
    if (part.words) told.push(part.words.join(" "));
  }
  return told;
}

function matches(place) {
  const step = steps[place];
  if (filter.kinds.size ? !filter.kinds.has(step.kind) : step.quiet) return false;
  if (filter.tags.size && !step.tags.some((tag) => filter.tags.has(tag))) return false;
  return !filter.words || haystack(place).includes(filter.words);
}

const isFiltered = () => Boolean(filter.words || filter.kinds.size || filter.tags.size);

// ---- blocks: only those near the screen are drawn ----

const list = byId("list");
let blocks = [];
const watcher = new IntersectionObserver(
  (seen) => {
    for (const one of seen) {
      if (one.isIntersecting) drawBlock(one.target);
      else dropBlock(one.target);
    }
  },
  { rootMargin: "1200px 0px" },
);

function drawBlock(block) {
  if (block.firstChild) return;
  const first = Number(block.dataset.first);
  const made = document.createDocumentFragment();
  visible.slice(first, first + BLOCK).forEach((place, offset) => {
    const step = drawStep(place);
    step.setAttribute("aria-posinset", String(first + offset + 1));
    step.setAttribute("aria-setsize", String(visible.length));
    made.append(step);
  });
  block.append(made);
  block.style.height = "";
  highlight(block);
}

function dropBlock(block) {
  if (block === blocks[0]) return; // a feed has to hold an article, whatever is in sight
  if (!block.firstChild || block.contains(document.activeElement)) return;
  block.style.height = `${block.offsetHeight}px`;
  block.replaceChildren();
}

function layOut() {
  watcher.disconnect();
  visible = [];
  for (let place = 0; place < steps.length; place += 1) if (matches(place)) visible.push(place);
  blocks = [];
  const made = document.createDocumentFragment();
  for (let first = 0; first < visible.length; first += BLOCK) made.append(newBlock(first));
  if (!visible.length) made.append(make("p", "none", steps.length ? "No step fits." : "The ledger holds no step yet."));
  list.replaceChildren(made);
  list.setAttribute("aria-busy", "false");
  blocks.slice(0, 2).forEach(drawBlock);
  blocks.forEach((block) => watcher.observe(block));
  tell();
}

function newBlock(first) {
  const block = make("div", "block");
  block.dataset.first = first;
  block.style.height = `${Math.min(BLOCK, visible.length - first) * 110}px`;
  blocks.push(block);
  return block;
}

function tell() {
  const total = isFiltered() ? ` of ${steps.length.toLocaleString("en")}` : "";
  byId("shown").textContent = `${visible.length.toLocaleString("en")}${total} steps`;
}

/** Mark what was searched for, without touching the document: ranges in a registry of the browser's. */
function highlight(root) {
  if (!CSS.highlights || typeof Highlight === "undefined") return;
  const found = CSS.highlights.get("found") ?? new Highlight();
  CSS.highlights.set("found", found);
  for (const range of found) if (!range.startContainer.isConnected) found.delete(range);
  if (!filter.words) return found.clear();
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node && found.size < 5000; node = walker.nextNode()) {
    const text = node.data.toLowerCase();
    for (let at = text.indexOf(filter.words); at >= 0 && found.size < 5000; at = text.indexOf(filter.words, at + filter.words.length)) {
      if (at + filter.words.length > node.data.length) break;
      const range = new Range();
      range.setStart(node, at);
      range.setEnd(node, at + filter.words.length);
      found.add(range);
    }
  }
}

// ---- moving about ----

let current = -1;

function show(index) {
  if (!visible.length) return;
  const bounded = Math.max(0, Math.min(visible.length - 1, index));
  const block = blocks[Math.floor(bounded / BLOCK)];
  drawBlock(block);
  list.querySelector(".current")?.classList.remove("current");
  current = visible[bounded];
  const step = block.children[bounded % BLOCK];
  step.classList.add("current");
  step.focus({ preventScroll: true });
  const place = () => step.scrollIntoView({ block: step.offsetHeight > innerHeight / 2 ? "start" : "nearest" });
  place();
  requestAnimationFrame(place); // blocks that came into sight have their own heights now
}

const currentIndex = () => visible.indexOf(current);

function nearest() {
  for (const step of list.querySelectorAll(".step")) {
    if (step.getBoundingClientRect().bottom > 80) return visible.indexOf(Number(step.dataset.place));
  }
  return 0;
}

function go(by) {
  const at = currentIndex();
  show(at < 0 ? nearest() : at + by);
}

function goToNotable(by) {
  const start = currentIndex() < 0 ? (by > 0 ? -1 : visible.length) : currentIndex();
  for (let index = start + by; index >= 0 && index < visible.length; index += by) {
    if (steps[visible[index]].tags.some((tag) => NOTABLE.includes(tag))) return show(index);
  }
}

function goToEntry() {
  const wanted = /^#e(\d+)$/.exec(location.hash);
  if (!wanted) return;
  const seq = Number(wanted[1]);
  let place = -1;
  steps.forEach((step, number) => {
    if (step.seq <= seq) place = number;
  });
  if (place < 0) return;
  if (!visible.includes(place)) {
    reset();
    if (!visible.includes(place)) toggle(byId("kinds"), steps[place].kind);
  }
  show(visible.indexOf(place));
}

/** Go to the last step that had begun at a moment, in milliseconds of the session's running time. */
function goToMoment(ms) {
  let found = 0;
  visible.forEach((place, index) => {
    if (steps[place].ms <= ms) found = index;
  });
  show(found);
}

function currentStep() {
  return current >= 0 ? byId(`e${steps[current].seq}`) : null;
}

function openAll() {
  const parts = [...(currentStep()?.querySelectorAll("details.part") ?? [])];
  const open = parts.some((part) => !part.open);
  for (const part of parts) part.open = open;
}

// ---- copying ----

function markdownOf(step) {
  const fence = (text) => {
    const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((run) => run[0].length));
    const mark = "`".repeat(longest + 1);
    return `${mark}\n${text}\n${mark}`;
  };
  const told = [`**#${step.seq} ${plain(step.name)}** ${step.tags.join(", ")} (${step.at})`];
  if (step.words.length) told.push(fence(step.words.map(plain).join(" ")));
  if (step.title) told.push(plain(step.title));
  if (step.notes.length) told.push(step.notes.map(plain).join(", "));
  for (const part of step.parts) {
    if (part.form === "why") told.push(plain(`${part.code}: ${part.message}${part.hint ? `; mend: ${part.hint}` : ""}${part.rule ? ` (${part.rule})` : ""}`));
    else if (part.form === "table") told.push(`${plain(part.label)}:`, fence(part.rows.map((row) => plain(row.join("  "))).join("\n")));
    else if (part.form === "words") told.push(fence(part.words.map(plain).join(" ")));
    else if (part.form === "absent") told.push(plain(`${part.label}: ${part.why}`));
    else told.push(`${plain(part.label)}:`, fence(plain(part.text)));
  }
  return `${told.join("\n\n")}\n`;
}

async function copy(asJson) {
  if (current < 0) return;
  const step = steps[current];
  const text = asJson ? `${JSON.stringify(step, (_, value) => (typeof value === "string" ? plain(value) : value), 2)}\n` : markdownOf(step);
  try {
    await navigator.clipboard.writeText(text);
    byId("shown").textContent = `copied entry ${step.seq}`;
  } catch {
    byId("shown").textContent = "the browser did not allow copying";
  }
}

// ---- filters ----

const chips = { kinds: KINDS, tags: TAGS };

function makeChips() {
  for (const [group, names] of Object.entries(chips)) {
    const box = byId(group);
    box.replaceChildren();
    for (const name of names) {
      const count = steps.filter((step) => (group === "kinds" ? step.kind === name : step.tags.includes(name))).length;
      if (!count) continue;
      const button = make("button", "", `${name} `, make("span", "n", count.toLocaleString("en")));
      button.type = "button";
      button.dataset.name = name;
      button.setAttribute("aria-pressed", String(filter[group].has(name)));
      button.addEventListener("click", () => toggle(box, name));
      box.append(button);
    }
  }
}

function toggle(box, name) {
  const chosen = filter[box.id];
  if (!chosen.delete(name)) chosen.add(name);
  for (const button of box.children) button.setAttribute("aria-pressed", String(chosen.has(button.dataset.name)));
  layOut();
}

function reset() {
  filter.words = byId("query").value = "";
  filter.kinds.clear();
  filter.tags.clear();
  makeChips();
  layOut();
}

let waiting = 0;
byId("query").addEventListener("input", (event) => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    filter.words = event.target.value.trim().toLowerCase();
    layOut();
  }, 120);
});
byId("tools").addEventListener("submit", (event) => {
  event.preventDefault();
  show(0);
});

// ---- dark and light ----

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("pairlock-theme", theme);
  } catch {
    // a sandboxed frame has no storage; the choice lasts as long as the page
  }
}

function switchTheme() {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  setTheme(dark === "dark" ? "light" : "dark");
}

try {
  const kept = localStorage.getItem("pairlock-theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
} catch {
  // the same
}
byId("theme").addEventListener("click", switchTheme);
byId("keys").addEventListener("click", () => byId("help").showModal());

// ---- keys ----

const keys = {
  j: () => go(1),
  k: () => go(-1),
  g: () => show(0),
  G: () => show(visible.length - 1),
  d: () => goToNotable(1),
  D: () => goToNotable(-1),
  o: openAll,
  c: () => copy(false),
  C: () => copy(true),
  t: switchTheme,
  "/": () => byId("query").select(),
  "?": () => byId("help").showModal(),
  Escape: () => isFiltered() && reset(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const isTyping = event.target instanceof HTMLInputElement;
  if (isTyping && event.key !== "Escape") return;
  const act = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
  if (!act) return;
  event.preventDefault();
  if (isTyping) event.target.blur();
  act();
});
list.addEventListener("click", (event) => {
  const step = event.target.closest(".step");
  if (!step || String(getSelection())) return;
  list.querySelector(".current")?.classList.remove("current");
  current = Number(step.dataset.place);
  step.classList.add("current");
});
for (const track of document.querySelectorAll(".track")) {
  track.addEventListener("click", (event) => {
    const box = track.getBoundingClientRect();
    goToMoment((data.ms * (event.clientX - box.left)) / box.width);
  });
}
addEventListener("hashchange", goToEntry);
addEventListener("beforeprint", () => blocks.forEach(drawBlock));

// ---- the stage's changes ----

function drawFiles() {
  const box = byId("files");
  data.files.forEach((file, number) => {
    const made = make("details", "file");
    const path = make("span", "mono", spelled(file.path));
    const summary = make("summary", "", make("span", "letter", file.letter), path, make("span", "note", file.sizes));
    for (const concern of file.concerns) summary.append(make("span", "tag tag-asked", concern));
    if (file.later) summary.append(make("span", "note", "run by: ", spelled(file.later)));
    if (file.conflict) summary.append(make("span", "tag tag-denied", "conflict: ", spelled(file.conflict)));
    made.append(summary);
    let filled = false;
    const fill = () => {
      if (!made.open || filled) return;
      filled = true;
      if (file.patch) made.append(growing(`f${number}`, file.patch, make("pre", "diff"), diffLines));
      else made.append(make("p", "absent", "no difference to show: ", spelled(file.why_not)));
    };
    made.addEventListener("toggle", fill);
    made.open = number === 0 && file.patch.length < 4000;
    fill();
    box.append(made);
  });
}

// ---- following a session that is running ----

function take(changed) {
  const atEnd = innerHeight + scrollY > document.documentElement.scrollHeight - 200;
  for (const [place, step] of changed) {
    steps[place] = step;
    haystacks[place] = undefined;
  }
  makeChips();
  const before = visible;
  visible = [];
  for (let place = 0; place < steps.length; place += 1) if (matches(place)) visible.push(place);
  const same = before.every((place, index) => visible[index] === place);
  if (!same || !before.length) layOut();
  else grow(changed, before.length);
  tell();
  if (atEnd) scrollTo(0, document.documentElement.scrollHeight);
}

function grow(changed, before) {
  for (const [place] of changed) byId(`e${steps[place].seq}`)?.replaceWith(drawStep(place));
  const last = blocks.at(-1);
  if (last?.firstChild) {
    const first = Number(last.dataset.first);
    for (const place of visible.slice(before, first + BLOCK)) last.append(drawStep(place));
  }
  for (let first = blocks.length * BLOCK; first < visible.length; first += BLOCK) {
    const block = newBlock(first);
    list.append(block);
    watcher.observe(block);
  }
}

function follow() {
  if (!data.live) return;
  const source = new EventSource(`${data.live}?after=${data.entries}`);
  source.addEventListener("steps", (event) => take(JSON.parse(event.data)));
  source.addEventListener("ended", () => {
    source.close();
    location.reload();
  });
  source.addEventListener("stopped", (event) => {
    source.close();
    byId("live-badge").replaceChildren("no longer followed: ", spelled(JSON.parse(event.data)));
  });
  addEventListener("pagehide", () => source.close());
}

document.querySelectorAll(".scroll").forEach(reachable);
makeChips();
drawFiles();
layOut();
goToEntry();
follow();
document.documentElement.dataset.ready = "yes";
