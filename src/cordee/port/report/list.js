// The list of findings: files that open to their ties, ties that open to what is known of them. What is closed is
// not built, so that ten thousand findings cost no more than a few.
const data = JSON.parse(document.getElementById("data").textContent);
const word = (number) => (number === undefined ? "" : data.texts[number]);
const STEP = 100; // files, and ties of one file, shown at once
const STAND = { rewritten: "rewritten", "will be rewritten": "rewritable", "runs as is": "nothing to do" };
const EFFORT = { S: "minutes", M: "hours", L: "days" };
const thin = (number) => number.toLocaleString("en").replaceAll(",", "\u202f");
const counted = (number, one) => `${thin(number)} ${one}${number === 1 ? "" : "s"}`;

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== ""));
  return made;
}

/** Words with what stands between backticks as code. */
function prose(text) {
  return text.split(/`([^`]+)`/).map((part, at) => (at % 2 ? element("code", null, part) : part));
}

/** The two texts of a replaced line with what differs inside of <em>. */
function differing(was, will) {
  let start = 0;
  while (start < Math.min(was.length, will.length) && was[start] === will[start]) start += 1;
  let end = 0;
  while (end < Math.min(was.length, will.length) - start && was.at(-1 - end) === will.at(-1 - end)) end += 1;
  return [was, will].map((text) => {
    const middle = text.slice(start, text.length - end);
    return [text.slice(0, start), middle ? element("em", null, middle) : "", text.slice(text.length - end)];
  });
}

function comparison(lines) {
  const box = element("pre", { class: "diff" });
  const line = (name, sign, parts) => box.append(element("span", { class: name }, sign, ...parts));
  for (let at = 0; at < lines.length; at += 1) {
    const [sign, text] = [lines[at][0], lines[at].slice(1)];
    const next = lines[at + 1] ?? "";
    const alone = sign === "-" && next[0] === "+" && lines[at - 1]?.[0] !== "-" && lines[at + 2]?.[0] !== "+";
    if (alone) {
      const [was, will] = differing(text, next.slice(1));
      line("old", "- ", was);
      line("new", "+ ", will);
      at += 1;
    } else if (sign === "@") line("remark", "", [text]);
    else line(sign === "-" ? "old" : sign === "+" ? "new" : "same", `${sign} `, [text]);
  }
  return box;
}

function source(tie) {
  const words = word(tie.source);
  if (tie.address === undefined) return words;
  return element("a", { href: word(tie.address), rel: "noopener noreferrer" }, words);
}

function details(tie) {
  const code = element("pre", { class: "whole-code", tabindex: "0", "aria-label": "code" }, tie.code[0], element("mark", null, tie.code[1]), tie.code[2]);
  const left = element("div", null, element("h4", null, `line ${tie.line}, column ${tie.column}`), code);
  if (tie.diff?.length) {
    const heading = tie.left ? "a fix to look at" : word(tie.state) === "rewritten" ? "was rewritten" : "will be rewritten";
    left.append(element("h4", null, heading), comparison(tie.diff));
  }
  for (const [number, anchor] of tie.files ?? []) {
    const path = word(number);
    const there = document.getElementById(anchor);
    left.append(element("p", { class: "brings" }, "with a new file: ", there ? element("a", { class: "mono", href: `#${anchor}` }, path) : element("span", { class: "mono" }, path)));
  }
  const list = element("dl");
  const row = (name, value) => value && list.append(element("dt", null, name), element("dd", null, ...(typeof value === "string" ? prose(value) : [value])));
  row("also on", tie.also && `line ${tie.also.join(", ")}`);
  row("on Ascend", word(tie.meaning));
  row("to do", word(tie.advice));
  row("state", word(tie.state));
  row("because", word(tie.reason));
  if (word(tie.state) !== "runs as is") row("effort", `${tie.effort}: ${EFFORT[tie.effort]}${tie.left ? "" : ", if it were done by hand"}`);
  row("confidence", word(tie.confidence));
  row("rule", `${tie.rule}: ${data.rules[tie.rule]}`);
  row("source", source(tie));
  return element("div", { class: "more" }, left, element("div", null, element("p", { class: "says" }, ...prose(word(tie.says))), list));
}

/** A <details> whose inside is built when it is first opened. */
function folded(name, summary, inside) {
  const box = element("details", { class: name }, summary);
  box.build = () => {
    if (box.children.length === 1) box.append(inside());
  };
  box.addEventListener("toggle", () => box.open && box.build());
  return box;
}

/** The first line of the tie, with the rest of the lines left to its details. */
function oneLine(tie) {
  const before = tie.code[0].split("\n").at(-1).trimStart();
  const [marked, ...others] = tie.code[1].split("\n");
  const after = others.length ? " …" : tie.code[2].split("\n")[0];
  return element("span", { class: "line" }, before.length > 60 ? `…${before.slice(-50)}` : before, element("mark", null, marked), after);
}

function tieBox(tie) {
  const meaning = word(tie.meaning);
  const summary = element("summary", null,
    element("span", { class: "at" }, String(tie.line)), oneLine(tie),
    element("span", { class: `means ${meaning.split(/[: ]/)[0]}` }, meaning),
    element("span", { class: `stand ${tie.left ? tie.effort : "done"}` }, tie.left ? `${EFFORT[tie.effort]} left` : STAND[word(tie.state)]));
  const box = folded("tie", summary, () => details(tie));
  box.dataset.at = `${tie.line}:${tie.column}`;
  return box;
}

/** Children of `list` in portions; the button asks for the next. */
function portions(list, items, make, button, what) {
  let shown = 0;
  const next = () => {
    list.append(...items.slice(shown, shown + STEP).map(make));
    shown = Math.min(shown + STEP, items.length);
    button.hidden = shown === items.length;
    button.textContent = `Show ${counted(Math.min(STEP, items.length - shown), `more ${what}`)} of ${thin(items.length - shown)}`;
  };
  button.onclick = next;
  next();
  return { all: () => { while (shown < items.length) next(); } };
}

function fileBox({ file, ties }) {
  const cut = file.path.lastIndexOf("/") + 1;
  const left = ties.filter((tie) => tie.left).length;
  const some = ties.length < file.ties.length ? ` of ${file.ties.length}` : "";
  const summary = element("summary", null,
    element("h3", { class: "mono" }, element("span", { class: "soft" }, file.path.slice(0, cut)), element("b", null, file.path.slice(cut))),
    element("span", { class: "sum" }, `${counted(ties.length, "tie")}${some}, `, left ? element("b", null, `${left} left`) : "none left"),
    element("span", { class: "work" }, left ? file.work : ""));
  const box = folded("file", summary, () => {
    const list = element("div", { class: "ties" });
    const button = element("button", { type: "button" });
    box.rest = portions(list, ties, tieBox, button, "tie");
    return element("div", null, list, button);
  });
  box.dataset.path = file.path;
  return box;
}
