// Joins the page: reads the state as it changes, steers replicas, and holds the chat.

import { Chat } from "./chat.js";
import { badge, follow } from "./live.js";
import { events, figures, move, pools } from "./view.js";

const node = (id) => document.getElementById(id);
const headers = () => {
  const key = sessionStorage.getItem("key");
  return key ? { Authorization: `Bearer ${key}` } : {};
};

function show(state) {
  const all = state.pools.flatMap((pool) => pool.replicas);
  const ready = all.filter((replica) => replica.state === "ready").length;
  node("models").textContent = [...new Set(state.pools.map((pool) => pool.model))].join(", ");
  node("key-form").hidden = true;
  health(ready === all.length ? "ok" : ready ? "waiting" : "bad", `${ready} of ${all.length} replicas ready`);
  figures(node("figures"), state.gateway);
  pools(node("pools"), state, act);
  events(node("events"), node("no-events"), state.events);
  move(node("move"), node("move-body"), state.move);
}

const health = (kind, text) => badge(node("health"), kind, text);

async function act(replica, action) {
  const reply = await fetch(`/cordee/replicas/${replica}/${action}`, { method: "POST", headers: headers() });
  if (!reply.ok) health("bad", (await reply.json()).error.message);
}

function failed(error) {
  node("key-form").hidden = error.status !== 401;
  health("bad", `the gateway does not answer: ${error.message}`);
}

const chat = new Chat(node("log"), headers);

async function send(event) {
  event?.preventDefault();
  const text = node("prompt").value.trim();
  if (!text || node("send").disabled) return;
  node("prompt").value = "";
  node("send").disabled = true;
  node("stop").disabled = false;
  await chat.ask(text, { max_tokens: Number(node("tokens").value) || undefined, temperature: Number(node("temperature").value) });
  node("send").disabled = false;
  node("stop").disabled = true;
  node("prompt").focus();
}

node("ask").addEventListener("submit", send);
node("stop").addEventListener("click", () => chat.stop());
node("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
});
node("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", node("key").value);
});
follow("/cordee/events", show, failed, () => ({ headers: headers() }));
