// Joins the page of a job: draws each state that comes, or the one that is in the page itself.

import { badge, drawn, element, follow } from "./live.js";
import { overTime } from "./charts.js";
import { events, facts, figures, links, recoveries, workers } from "./view.js";

const node = (id) => document.getElementById(id);
const STATES = { starting: ["waiting", "starting"], trains: ["ok", "trains"], restarting: ["waiting", "begins again"],
  done: ["ok", "done"], interrupted: ["bad", "interrupted"], failed: ["bad", "failed"] };
const OVER = new Set(["done", "interrupted", "failed"]);
let last = null;

function show(state) {
  last = state;
  node("script").textContent = (state.job.command ?? ["training"]).join(" ");
  document.title = `${state.step} steps, ${STATES[state.state][1]} – Cordée`;
  badge(node("state-badge"), ...STATES[state.state]);
  node("failed").hidden = !state.error;
  node("error").textContent = state.error;
  facts(node("facts"), state);
  figures(node("figures"), state);
  draw();
  recoveries(node("recoveries"), node("no-recoveries"), state.recoveries);
  workers(node("workers"), state.workers);
  links(node("links"), node("no-links"), state.links);
  events(node("events"), state.happened);
  return OVER.has(state.state) ? "over" : "";
}

function draw() {
  if (last) overTime(node("over-time"), last, (text) => { node("readout").textContent = text || "\u00a0"; });
}

const LEGEND = { "takes part": "member", "gets the state": "takes", "ready to come in": "waits", "builds its model": "starts" };
node("legend").append(...Object.entries(LEGEND).map(([text, being]) =>
  element("li", { class: `being-${being}` }, element("i"), element("span", {}, text))),
element("li", { class: "being-lost" }, drawn("svg", { width: 10, height: 10, style: "margin-right:7px" },
  drawn("path", { d: "M1,1L9,9M1,9L9,1", stroke: "currentColor", "stroke-width": 2.2 })), element("span", {}, "lost")));
new ResizeObserver(draw).observe(node("over-time"));

const within = node("state");
if (within) {
  node("about").textContent = "Written by cordee train show, from the journal of the job.";
  show(JSON.parse(within.textContent));
} else {
  follow("/job/events", show, (error) => badge(node("state-badge"), "bad", `the job does not answer: ${error.message}`));
}
