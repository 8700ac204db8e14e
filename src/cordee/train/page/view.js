// How the state of a job is written: cards, tables and the list of what happened.

import { cards, drop, element, kept, seconds } from "./live.js";
import { short } from "./charts.js";

const bytes = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(2)} GB` : n >= 1e6 ? `${(n / 1e6).toFixed(1)} MB` : n >= 1e3 ? `${(n / 1e3).toFixed(1)} kB` : `${n} B`);
const count = (n) => n.toLocaleString("en").replaceAll(",", "\u202f");

/** What the job is. */
export function facts(node, state) {
  const job = state.job, rows = [["workers", job.workers], ["spares", job.spares], ["shards", state.shards || null],
    ["mode", job.mode], ["epoch", state.epoch], ["started", new Date(state.began_s * 1000).toLocaleString()], ["journal", job.folder]];
  node.replaceChildren(...rows.filter(([, value]) => value !== undefined && value !== null && value !== "")
    .map(([name, value]) => element("li", {}, `${name} `, element("b", {}, String(value)))));
}

/** The cards with the figures of the whole job. */
export function figures(node, state) {
  const waiting = state.workers.filter((w) => w.being === "waits" || w.being === "takes").length;
  const lost = state.workers.filter((w) => w.lost).length;
  const pauses = state.recoveries.map((r) => r.gap_s);
  cards(node, [
    ["Steps made", count(state.step), state.skipped ? `${state.skipped} left out` : ""],
    ["Loss", short(state.loss), ""],
    ["Steps per second", short(+state.steps_per_s.toFixed(2)), `${short(+(state.steps_per_s * state.shards).toFixed(1))} shards/s`],
    ["Members", state.members.length, waiting ? `${waiting} ready to come in` : ""],
    ["Workers lost", lost, ""],
    ["Longest time without a step", pauses.length ? seconds(Math.max(...pauses)) : "–", pauses.length ? `${pauses.length} ${pauses.length > 1 ? "losses" : "loss"}` : ""],
  ]);
}

const PHASES = [["noticed", "of the step itself, and until the loss was noticed"], ["agreed", "to agree how to go on"],
  ["formed", "to form the new group"], ["restored", "to give the state to who lacked it"], ["made", "to make the step again"]];

/** The losses, the latest first, each with what took how long. */
export function recoveries(node, empty, list) {
  empty.hidden = list.length > 0;
  node.hidden = !empty.hidden;
  const head = ["time", "worker", "noticed by", "why", "at step", "members left", "agree", "new group", "restore", "next step after", "without a step", ""];
  const rows = list.slice().reverse().map((r) => element("tr", {},
    element("td", {}, new Date(r.time_s * 1000).toLocaleTimeString()), element("td", {}, r.workers.join(", ")),
    element("td", {}, r.noticed_by), element("td", {}, r.reason), element("td", { class: "n" }, String(r.step)),
    element("td", { class: "n" }, String(r.members)), ...[r.agreed_s, r.formed_s, r.restored_s].map((s) => element("td", { class: "n" }, seconds(s))),
    element("td", { class: "n" }, seconds(r.pause_s)),
    element("td", { class: "n" }, element("b", {}, seconds(r.gap_s))), element("td", {}, phases(r))));
  node.replaceChildren(table(head, rows));
}

function phases(r) {
  const known = { agreed: r.agreed_s, formed: r.formed_s, restored: r.restored_s };
  known.noticed = Math.max(0, r.gap_s - r.pause_s);
  known.made = Math.max(0, r.pause_s - r.agreed_s - r.formed_s - r.restored_s);
  const whole = Math.max(r.gap_s, r.pause_s) || 1;
  return element("div", { class: "phases" }, ...PHASES.map(([name, about]) =>
    element("i", { class: `phase-${name}`, style: `width:${(known[name] / whole) * 100}%`, title: `${seconds(known[name])} ${about}` })));
}

/** All workers: those that are there first. */
export function workers(node, list) {
  const there = list.filter((w) => w.being !== "gone").sort((a, b) => a.number - b.number), gone = list.filter((w) => w.being === "gone").slice(-12).reverse();
  const head = ["worker", "host", "pid", "is", "shards", "computed", "waited for"];
  const rows = [...there, ...gone].map((w) => element("tr", {}, element("td", {}, String(w.number)), element("td", {}, w.host),
    element("td", { class: "n" }, String(w.pid)), element("td", { class: w.lost ? "being-lost" : `being-${w.being}` }, said(w)),
    element("td", { class: "n" }, w.being === "member" ? String(w.shards) : ""), element("td", { class: "n" }, count(w.computed)),
    element("td", { class: "n" }, w.last ? `${seconds(w.waited_s)} at ${count(w.last)} steps` : "–")));
  node.replaceChildren(table(head, rows));
}

const BEING = { starts: "builds its model", waits: "ready to come in", takes: "gets the state", member: "takes part" };
const said = (w) => (w.being === "gone" ? (w.lost ? `lost: ${w.ended}` : "ended") : BEING[w.being]);

/** Bytes from each to each, and what was measured where a link was looked at. */
export function links(node, empty, list) {
  empty.hidden = list.length > 0;
  node.hidden = !empty.hidden;
  const numbers = [...new Set(list.flatMap(([a, b]) => [a, b]))].sort((a, b) => a - b);
  const of = new Map(list.map(([a, b, sent, rate]) => [`${a} ${b}`, [sent, rate]]));
  const most = list.reduce((m, [, , sent]) => Math.max(m, sent), 1);
  const rows = numbers.map((a) => element("tr", {}, element("th", { scope: "row" }, `from ${a}`), ...numbers.map((b) => {
    const [sent, rate] = of.get(`${a} ${b}`) ?? [0, null];
    return element("td", { class: "n heat", style: `--heat:${(sent / most).toFixed(3)}` }, sent ? bytes(sent) : "", ...(rate ? [element("br"), `${bytes(rate)}/s`] : []));
  })));
  node.replaceChildren(table(["", ...numbers.map((b) => `to ${b}`)], rows));
}

function table(head, rows) {
  return element("table", {}, element("thead", {}, element("tr", {}, ...head.map((t) => element("th", {}, t)))), element("tbody", {}, ...rows));
}

/** What happened, the latest first. */
export function events(node, list) {
  const latest = list.slice(-60).reverse(), wanted = latest.map((event, at) => `${event.time_s} ${event.kind} ${event.text} ${list.length - at}`);
  latest.forEach((event, place) => {
    const item = kept(node, wanted[place], () => element("li", {}, element("div", { class: "line" },
      element("time", {}, new Date(event.time_s * 1000).toLocaleTimeString()), element("span", { class: `kind ${event.kind}` }, event.kind), element("span", {}, event.text))));
    if (node.children[place] !== item) node.insertBefore(item, node.children[place] ?? null);
  });
  drop(node, new Set(wanted));
}
