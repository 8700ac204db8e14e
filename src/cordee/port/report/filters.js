// What is shown is decided by the filters, and the filters stand in the address, so that a view can be passed on.
const form = document.getElementById("filters");
const list = document.getElementById("list");
const NAMES = ["q", "state", "meaning", "effort", "kind", "rule", "order"];
let groups;

const STATES = { left: (tie) => tie.left, settled: (tie) => !tie.left, blocks: (tie) => tie.blocker };
const ORDERS = { path: (a, b) => (a.file.path < b.file.path ? -1 : 1), ties: (a, b) => b.ties.length - a.ties.length };

function wanted() {
  const hash = location.hash.slice(1);
  return new URLSearchParams(hash.includes("=") ? hash : "");
}

/** All that a search looks at, made once for each tie. */
function haystack(file, tie) {
  tie.text ??= [file.path, tie.rule, data.rules[tie.rule], ...tie.code, word(tie.says), word(tie.advice), word(tie.reason)].join("\n").toLowerCase();
  return tie.text;
}

function matching(view) {
  const get = (name) => view.get(name) ?? "";
  const words = get("q").toLowerCase().split(/\s+/).filter(Boolean);
  const [path, kind, rule, effort, meaning] = ["path", "kind", "rule", "effort", "meaning"].map(get);
  const stands = STATES[get("state")];
  const fits = (file, tie) =>
    (!stands || stands(tie)) && (!effort || tie.effort === effort) && (!meaning || word(tie.meaning) === meaning) &&
    (!rule || tie.rule === rule || data.families[tie.rule] === rule) &&
    words.every((one) => haystack(file, tie).includes(one));
  const found = [];
  for (const file of data.files) {
    if (path && file.path !== path && !file.path.startsWith(`${path}/`)) continue;
    if (kind && file.kind !== kind) continue;
    const ties = file.ties.filter((tie) => fits(file, tie));
    if (ties.length) found.push({ file, ties });
  }
  const order = ORDERS[get("order")];
  return order ? found.sort(order) : found;
}

/** Show what the address asks for. */
function show() {
  const view = wanted();
  const found = matching(view);
  const ties = found.reduce((sum, group) => sum + group.ties.length, 0);
  const all = data.files.reduce((sum, file) => sum + file.ties.length, 0);
  for (const name of NAMES) if (form.elements[name].value !== (view.get(name) ?? "")) form.elements[name].value = view.get(name) ?? "";
  document.getElementById("count").textContent = !ties ? "Nothing fits these filters." : ties === all ? `${counted(all, "finding")} in ${counted(found.length, "file")}` : `${counted(ties, "finding")} of ${thin(all)} in ${counted(found.length, "file")}`;
  document.getElementById("clear").hidden = ![...view.keys()].some((name) => name !== "order");
  const path = view.get("path");
  const chosen = path ? element("button", { type: "button", "aria-label": `no longer only ${path}` }, `only ${path} ✕`) : "";
  if (chosen) chosen.onclick = () => change({ path: "", at: "" });
  document.getElementById("chosen").replaceChildren(chosen);
  for (const link of document.querySelectorAll(".treemap a")) {
    link.classList.toggle("chosen", Boolean(path) && decodeURIComponent(link.getAttribute("href").slice(6)) === path);
  }
  list.replaceChildren();
  groups = portions(list, found, fileBox, document.getElementById("more"), "file");
  if (found.length === 1) open(list.firstElementChild, view.get("at"));
}

/** Open a file and, if asked for, the tie at a place in it. */
function open(box, at) {
  box.build();
  box.open = true;
  if (!at) return;
  box.rest.all();
  const tie = box.querySelector(`[data-at="${CSS.escape(at)}"]`);
  if (!tie) return;
  tie.build();
  tie.open = true;
  tie.classList.add("target");
  tie.scrollIntoView({ block: "center" });
  tie.querySelector("summary").focus({ preventScroll: true });
}

/** Change some filters; typing does not fill the browser's history. */
function change(entries) {
  const view = wanted();
  for (const [name, value] of Object.entries(entries)) value ? view.set(name, value) : view.delete(name);
  const hash = view.toString().replaceAll("+", "%20");
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  show();
  unfold();
}

function options(name, values) {
  const counts = new Map();
  for (const file of data.files) for (const tie of file.ties) {
    const value = values(file, tie);
    counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).map(([value, count]) => element("option", { value }, `${value} (${count})`));
}

function rules() {
  const families = new Map();
  for (const option of options("rule", (file, tie) => tie.rule)) {
    const family = data.families[option.value];
    if (!families.has(family)) families.set(family, []);
    option.textContent = option.textContent.replace(" (", ` ${data.rules[option.value]} (`);
    families.get(family).push(option);
  }
  return [...families].map(([family, own]) => {
    own.sort((a, b) => (a.value < b.value ? -1 : 1));
    return element("optgroup", { label: family }, element("option", { value: family }, `all of: ${family}`), ...own);
  });
}

/** One stop for the tab key, arrows from file to file. */
function walkable(map) {
  const links = [...map.querySelectorAll("a")];
  links.forEach((link, number) => link.setAttribute("tabindex", number ? "-1" : "0"));
  map.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    links.forEach((link) => link.setAttribute("tabindex", "-1"));
    const next = links[(links.indexOf(document.activeElement) + step + links.length) % links.length];
    next.setAttribute("tabindex", "0");
    next.focus();
  });
}

/** Open what the address names, if it is folded. */
function unfold() {
  const named = location.hash.includes("=") ? null : document.getElementById(location.hash.slice(1));
  if (named?.tagName === "DETAILS") named.open = true;
}

if (form) {
  form.hidden = false; // without scripts there is nothing to filter
  form.elements.meaning.append(...options("meaning", (file, tie) => word(tie.meaning)));
  form.elements.kind.append(...options("kind", (file) => file.kind));
  form.elements.rule.append(...rules());
  let soon;
  const chosen = ({ target: { name, value } }) => {
    clearTimeout(soon);
    soon = setTimeout(() => change({ [name]: value, at: "" }), name === "q" ? 120 : 0);
  };
  form.addEventListener("input", chosen);
  form.addEventListener("change", chosen);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("clear").onclick = () => change(Object.fromEntries([...wanted().keys()].map((name) => [name, ""])));
  document.querySelectorAll(".treemap").forEach(walkable);
  addEventListener("hashchange", () => {
    const ours = location.hash.includes("=");
    if (ours) show();
    unfold();
    if (ours && !wanted().get("at")) document.getElementById("findings").scrollIntoView();
  });
  addEventListener("beforeprint", () => groups.all());
  show();
  unfold();
}
