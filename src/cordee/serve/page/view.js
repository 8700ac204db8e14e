// How the state is drawn. Nodes are kept and changed, so that focus and open details stay where they are.

import { cards, drawn, drop, element, kept, percent, seconds } from "./live.js";

const COLOURS = 8;
const numbers = new Map();

/** The colour of a replica: by its place among all that were seen. */
export function colour(name) {
  if (!numbers.has(name)) numbers.set(name, numbers.size);
  return `var(--r${numbers.get(name) % COLOURS})`;
}

const STATE = { ready: "ok", starting: "waiting", draining: "waiting", suspect: "bad", dead: "bad", stopped: "bad" };

const rates = [];

/** The cards with the figures of the whole service. */
export function figures(node, gateway) {
  rates.push(gateway.tokens_per_s);
  if (rates.length > 120) rates.shift();
  const { ok, failed, rejected } = gateway.requests;
  cards(node, [
    ["Tokens per second", Math.round(gateway.tokens_per_s), "", curve(rates)],
    ["Requests under way", gateway.streams, gateway.queued ? `${gateway.queued} wait` : ""],
    ["Time to first token", seconds(gateway.ttft_s.p50), `p99 ${seconds(gateway.ttft_s.p99)}`],
    ["Time per token", seconds(gateway.tpot_s.p50), `p99 ${seconds(gateway.tpot_s.p99)}`],
    ["Answered", ok, `${failed} failed, ${rejected} refused`],
    ["Moved after a failure", gateway.failovers, ""],
  ]);
}

function curve(values) {
  const most = Math.max(...values, 1);
  const points = values.map((v, i) => `${(i / 119) * 200},${25 - (v / most) * 23}`).join(" ");
  const line = drawn("polyline", { points, fill: "none", stroke: "currentColor", "stroke-width": 1.6, "vector-effect": "non-scaling-stroke" });
  return drawn("svg", { viewBox: "0 0 200 26", preserveAspectRatio: "none", "aria-hidden": "true" }, line);
}

const ACTS = [["Drain", "drain"], ["Restart", "restart"], ["Kill", "kill"], ["Hang", "hang"], ["Resume", "resume"]];

/** All pools with their replicas and what may be done to them. */
export function pools(node, state, act) {
  for (const pool of state.pools) {
    const box = kept(node, `pool-${pool.name}`, () => element("div", {}, element("div", { class: "pool-name" })));
    box.firstChild.replaceChildren(element("b", {}, pool.name),
      element("span", { class: "soft" }, `${pool.kind}, ${pool.role}` + (["primary", "canary"].includes(pool.role) ? `, ${percent(pool.share)} of the traffic` : "")));
    for (const replica of pool.replicas) one(box, replica, act);
    drop(box, new Set(["", ...pool.replicas.map((r) => `replica-${r.name}`)]));
  }
  drop(node, new Set(state.pools.map((pool) => `pool-${pool.name}`)));
}

function one(box, replica, act) {
  const node = kept(box, `replica-${replica.name}`, () => {
    const acts = ACTS.map(([text, action]) => element("button",
      { type: "button", "aria-label": `${text} ${replica.name}`, "data-action": action, onclick: () => act(replica.name, action) }, text));
    return element("div", {}, element("div", { class: "top" }), element("dl"), element("div", { class: "acts" }, ...acts));
  });
  node.className = `replica ${replica.state}`;
  node.style.setProperty("--c", colour(replica.name));
  node.children[0].replaceChildren(element("b", {}, replica.name),
    element("span", { class: `badge ${STATE[replica.state]}` }, replica.state),
    element("span", { class: "soft" }, [chipsOf(replica), replica.pid && `pid ${replica.pid}`].filter(Boolean).join(", ")));
  const facts = [["requests", replica.running], ["tokens/s", Math.round(replica.tokens_per_s)],
    ["first token", seconds(replica.ttft_s.p50)], ["per token", seconds(replica.tpot_s.p50)],
    ["cache", percent(replica.kv_used)], ["restarts", replica.restarts]];
  node.children[1].replaceChildren(...facts.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, String(value)))));
}

/** "Ascend910B3 0, 1": their kind, where it has told it, and their numbers, where it has its own. */
function chipsOf({ chip, chips }) {
  return [chip, chips.join(", ")].filter(Boolean).join(" ");
}

/** What happened, the latest first; each with what became of its requests. */
export function events(node, empty, list) {
  empty.hidden = list.length > 0;
  const latest = list.slice(-40).reverse();
  const wanted = latest.map((event) => `event-${event.time_s}-${event.replica}`);
  latest.forEach((event, place) => {
    const item = kept(node, wanted[place], () => element("li", {}, element("div", { class: "line" })));
    item.firstChild.replaceChildren(element("time", {}, new Date(event.time_s * 1000).toLocaleTimeString()),
      element("span", { class: `kind ${event.kind}` }, event.kind), element("b", {}, event.replica),
      element("span", { class: "soft" }, event.text));
    if (event.requests.length && item.dataset.count !== String(event.moved)) {
      item.dataset.count = event.moved;
      const open = item.querySelector("details")?.open ?? false;
      item.querySelector("details")?.remove();
      item.append(requests(event, open));
    }
    if (node.children[place] !== item) node.insertBefore(item, node.children[place]);
  });
  drop(node, new Set(wanted));
}

function requests(event, open) {
  const gaps = event.requests.map((r) => r.gap_s);
  const exact = event.requests.every((r) => r.exact) ? "from their exact tokens" : "some of them from their text";
  const rows = event.requests.map((r) => element("tr", {}, element("td", {}, element("code", {}, r.id)),
    element("td", { class: "n" }, String(r.ids_said)), element("td", {}, r.to), element("td", { class: "n" }, seconds(r.gap_s)),
    element("td", {}, r.exact ? "exact" : "by text")));
  const head = ["request", "tokens it had", "went on on", "gap", ""].map((t) => element("th", {}, t));
  return element("details", { open }, element("summary", {},
    `${event.moved} ${event.moved === 1 ? "request" : "requests"} went on ${exact}; longest gap ${seconds(Math.max(...gaps))}`),
  element("div", { class: "scroll" }, element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows))));
}

/** The move of traffic between pools, if there is one. */
export function move(section, body, state) {
  section.hidden = !state;
  if (!state) return;
  const gates = (state.gates ?? []).map((gate) => element("li", { class: `badge ${gate.holds ? "ok" : "bad"}` },
    `${gate.name}: ${gate.value === null ? "not known yet" : gate.value} (limit ${gate.limit})`));
  body.replaceChildren(
    element("p", {}, element("b", {}, `${state.from} → ${state.to}`), `: ${state.phase}, ${percent(state.share)} of the traffic; `,
      `${state.agreed} of ${state.compared} answers agree`),
    element("div", { class: "progress", role: "progressbar", "aria-valuenow": Math.round(state.share * 100) },
      element("i", { style: `width:${state.share * 100}%` })),
    element("ul", { class: "gates" }, ...gates));
}
