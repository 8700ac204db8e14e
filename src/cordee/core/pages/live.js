// What pages that follow something as it changes have in common: making nodes, keeping them, and reading the feed.

const SVG = "http://www.w3.org/2000/svg";

export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") made.style.cssText = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** The child of `parent` with this id, which is made where there is none: nodes that stay keep focus and open details. */
export function kept(parent, id, make) {
  let node = [...parent.children].find((child) => child.dataset.id === id);
  if (!node) { node = make(); node.dataset.id = id; parent.append(node); }
  return node;
}

export function drop(parent, wanted) {
  for (const child of [...parent.children]) if (!wanted.has(child.dataset.id ?? "")) child.remove();
}

export const seconds = (s) => (s === null || s === undefined ? "–" : s < 1 ? `${Math.round(s * 1000)} ms` : `${s.toFixed(1)} s`);
export const percent = (share) => `${Math.round(share * 100)} %`;

/** Cards with figures: label, figure, what there is to say of it, and a picture below. */
export function cards(node, rows) {
  node.replaceChildren(...rows.map(([label, figure, more, picture]) =>
    element("div", { class: "card" },
      element("div", { class: "figure" }, String(figure)), element("div", { class: "label" }, label),
      ...(more ? [element("div", { class: "of" }, more)] : []), ...(picture ? [picture] : []))));
}

/** The badge beside the title. */
export function badge(node, kind, text) {
  node.className = `badge ${kind}`;
  node.textContent = text;
}

/** Lines of a streamed response. */
export async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}

/** Each state that `url` sends, until `show` says that it was the last; `failed` is told why there is none. */
export async function follow(url, show, failed, request = () => ({})) {
  for (;;) {
    try {
      const reply = await fetch(url, request());
      if (!reply.ok) throw Object.assign(new Error(`answered ${reply.status}`), { status: reply.status });
      let kind = "";
      for await (const line of lines(reply)) {
        if (line.startsWith("event: ")) kind = line.slice(7);
        else if (line.startsWith("data: ") && kind === "status" && show(JSON.parse(line.slice(6))) === "over") return;
      }
    } catch (error) {
      failed(error);
    }
    await new Promise((done) => setTimeout(done, 1000));
  }
}
