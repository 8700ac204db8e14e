// Loss, throughput and membership of a job, one above the other on one axis of time.

import { drawn, seconds } from "./live.js";

const LEFT = 62, RIGHT = 12, LOSS = 190, RATE = 84, GAP = 26, ROWS_MOST = 48;
const span = (s) => (s < 120 ? `${Math.round(s * 10) / 10} s` : s < 7200 ? `${Math.round(s / 6) / 10} min` : `${Math.round(s / 360) / 10} h`);

/** A number in few letters. */
export const short = (x) => (x === null || x === undefined ? "–" : Math.abs(x) >= 1e5 || (x !== 0 && Math.abs(x) < 1e-3) ? x.toExponential(1) : String(+x.toPrecision(4)));

/** Draws into `node`; tells `say` what is under the pointer. */
export function overTime(node, state, say) {
  const width = Math.max(320, node.clientWidth), right = width - RIGHT;
  const from = state.began_s, until = Math.max(state.seen_s, from + 0.001);
  const x = (s) => LEFT + ((Math.min(Math.max(s, from), until) - from) / (until - from)) * (right - LEFT);
  const rows = state.workers.slice(-ROWS_MOST);
  const row = rows.length > 16 ? 9 : 17;
  const lossTop = 18, rateTop = lossTop + LOSS + GAP, rowsTop = rateTop + RATE + GAP, height = rowsTop + rows.length * row + 24;
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": "Loss, throughput and members over time" });
  for (const tick of times(until - from, width / 120)) {
    svg.append(drawn("line", { class: "grid", x1: x(from + tick), x2: x(from + tick), y1: lossTop, y2: height - 20 }),
      drawn("text", { x: x(from + tick), y: height - 6, "text-anchor": "middle" }, span(tick)));
  }
  loss(svg, state, x, lossTop, right);
  rate(svg, state, x, rateTop, right);
  svg.append(drawn("text", { class: "title", x: 0, y: rowsTop - 8 }, "workers"));
  rows.forEach((worker, at) => life(svg, worker, x, until, rowsTop + at * row, row));
  for (const recovery of state.recoveries) lost(svg, recovery, x, lossTop, height - 20);
  pointer(svg, state, x, lossTop, height - 20, say);
  node.replaceChildren(svg);
}

/** Round numbers within a range, at most about `count`. */
function ticks(least, most, count) {
  const rough = (most - least) / Math.max(1, count), power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? power;
  const found = [];
  for (let at = Math.ceil(least / step) * step; at <= most + step * 1e-6; at += step) found.push(+at.toPrecision(12));
  return found;
}

/** Round times. */
function times(most, count) {
  const round = [10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
  const step = round.find((s) => s >= most / count);
  if (!step || most / count < 10) return ticks(0, most, count);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, at) => at * step);
}

function axis(svg, title, least, most, top, height, right) {
  const y = (v) => top + height - ((v - least) / (most - least || 1)) * height;
  svg.append(drawn("text", { class: "title", x: 0, y: top - 6 }, title));
  for (const tick of ticks(least, most, height / 40)) {
    svg.append(drawn("line", { class: "grid", x1: LEFT, x2: right, y1: y(tick), y2: y(tick) }),
      drawn("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  return y;
}

function loss(svg, state, x, top, right) {
  const points = state.curve.filter((p) => p[4] !== null);
  const values = points.flatMap((p) => [p[5], p[6]]);
  const least = values.reduce((a, b) => Math.min(a, b), Infinity), most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const pad = points.length ? (most - least || Math.abs(most) || 1) * 0.05 : 0;
  const y = axis(svg, points.length ? "loss" : "loss: not told yet", points.length ? least - pad : 0, points.length ? most + pad : 1, top, LOSS, right);
  if (!points.length) return;
  if (points.some((p) => p[6] > p[5])) {
    const edge = [...points.map((p) => [p[3], p[6]]), ...points.slice().reverse().map((p) => [p[3], p[5]])];
    svg.append(drawn("polygon", { class: "spread", points: edge.map(([s, v]) => `${x(s)},${y(v)}`).join(" ") }));
  }
  svg.append(drawn("polyline", { class: "loss", points: points.map((p) => `${x(p[3])},${y(p[4])}`).join(" ") }));
}

/** Shards per second of each point. */
const rateOf = (state, p) => ((p[1] - p[0] + 1) * state.shards) / Math.max(p[3] - p[2], 1e-6);

/** Points joined until each lasts a little: single steps jump too much to be read. */
function smooth(state) {
  const least = (state.seen_s - state.began_s) / 150, found = [];
  for (const p of state.curve) {
    const last = found.at(-1);
    if (last && last[3] - last[2] < least && Math.abs(p[2] - last[3]) < 1e-3) { last[1] = p[1]; last[3] = p[3]; }
    else found.push([...p]);
  }
  return found;
}

function rate(svg, state, x, top, right) {
  const points = smooth(state), most = points.reduce((a, p) => Math.max(a, rateOf(state, p)), 0);
  const y = axis(svg, "shards/s", 0, most * 1.05 || 1, top, RATE, right);
  const line = points.flatMap((p) => [[p[2], rateOf(state, p)], [p[3], rateOf(state, p)]]);
  svg.append(drawn("polyline", { class: "rate", points: line.map(([s, v]) => `${x(s)},${y(v)}`).join(" ") }));
}

function life(svg, worker, x, until, top, row) {
  if (row > 12) svg.append(drawn("text", { x: LEFT - 6, y: top + 11, "text-anchor": "end" }, String(worker.number)));
  worker.spans.forEach(([being, at], place) => {
    const next = worker.spans[place + 1], end = next ? next[1] : until;
    if (being === "gone") return;
    const box = drawn("rect", { class: `being-${being}`, x: x(at), y: top + 2, width: Math.max(1, x(end) - x(at)), height: row - 5, rx: 2 },
      drawn("title", {}, `worker ${worker.number}: ${being}, ${seconds(end - at)}`));
    svg.append(box);
  });
  const [last, at] = worker.spans.at(-1);
  if (last === "gone" && worker.lost) {
    const c = x(at), m = top + row / 2 - 0.5, r = row > 12 ? 4 : 3;
    svg.append(drawn("path", { class: "cross", d: `M${c - r},${m - r}L${c + r},${m + r}M${c - r},${m + r}L${c + r},${m - r}` },
      drawn("title", {}, `worker ${worker.number}: ${worker.ended}`)));
  }
}

function lost(svg, recovery, x, top, bottom) {
  const from = x(recovery.time_s - recovery.gap_s), until = x(recovery.time_s), at = x(recovery.time_s - recovery.pause_s);
  svg.append(drawn("rect", { class: "lost", x: from, y: top, width: Math.max(1, until - from), height: bottom - top },
    drawn("title", {}, `${recovery.reason}: no step for ${seconds(recovery.gap_s)}, until step ${recovery.step}`)),
  drawn("line", { class: "mark", x1: at, x2: at, y1: top, y2: bottom }));
}

function pointer(svg, state, x, top, bottom, say) {
  const line = drawn("line", { class: "cursor", y1: top, y2: bottom, visibility: "hidden" });
  svg.append(line);
  svg.addEventListener("pointermove", (event) => {
    const at = event.clientX - svg.getBoundingClientRect().left;
    let best = null;
    for (const p of state.curve) if (!best || Math.abs(x(p[3]) - at) < Math.abs(x(best[3]) - at)) best = p;
    if (!best) return;
    line.setAttribute("x1", x(best[3])); line.setAttribute("x2", x(best[3])); line.setAttribute("visibility", "visible");
    const steps = best[0] === best[1] ? `step ${best[0]}` : `steps ${best[0]} to ${best[1]}`;
    say(`${span(best[3] - state.began_s)}: ${steps}, loss ${short(best[4])}, ${short(rateOf(state, best))} shards/s`);
  });
  svg.addEventListener("pointerleave", () => { line.setAttribute("visibility", "hidden"); say(""); });
}
