// The chat: a stream read as it comes, its tokens in the colour of the replica that made them.
// Where the connection itself breaks, the page comes back for the rest with the stream's last position.

import { element, lines } from "./live.js";
import { colour } from "./view.js";

/** A conversation in `log`; `headers()` gives those of every request. */
export class Chat {
  constructor(log, headers) {
    this.log = log;
    this.headers = headers;
    this.messages = [];
    this.abort = null;
  }

  stop() { this.abort?.abort(); }

  async ask(text, options) {
    this.messages.push({ role: "user", content: text });
    this.turn("user", "You").said.textContent = text;
    const turn = this.turn("assistant", "Model");
    this.abort = new AbortController();
    const answer = { text: "", replica: null, last: null, span: null, whole: false };
    try {
      await this.stream(turn, answer, "/v1/chat/completions", { method: "POST", body: JSON.stringify({
        messages: this.messages, stream: true, ...options }) });
      for (let again = 0; !answer.whole && answer.last && again < 20; again++) {
        await new Promise((done) => setTimeout(done, 300));
        const id = answer.last.slice(0, answer.last.lastIndexOf("."));
        await this.stream(turn, answer, `/v1/streams/${id}`, { headers: { "Last-Event-ID": answer.last } });
      }
      if (!answer.whole) this.note(turn, "the connection broke");
    } catch (error) {
      if (error.name !== "AbortError") this.note(turn, error.message);
    }
    this.messages.push({ role: "assistant", content: answer.text });
    this.abort = null;
  }

  async stream(turn, answer, url, request) {
    let response;
    try {
      response = await fetch(url, { ...request, signal: this.abort.signal,
        headers: { "X-Cordee-Trace": "1", ...this.headers(), ...request.headers } });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      return;
    }
    if (!response.ok) throw new Error((await response.json()).error.message);
    try {
      for await (const line of lines(response)) this.hear(turn, answer, line);
    } catch (error) {
      if (error.name === "AbortError") throw error;
    }
  }

  hear(turn, answer, line) {
    if (line.startsWith(": replica ")) this.replica(turn, answer, line.slice(10));
    else if (line.startsWith("id: ")) answer.last = line.slice(4);
    else if (line === "data: [DONE]") answer.whole = true;
    else if (line.startsWith("data: ")) {
      const chunk = JSON.parse(line.slice(6));
      if (chunk.error) throw new Error(chunk.error.message);
      const delta = chunk.choices[0]?.delta ?? {};
      this.say(answer, (delta.reasoning_content ?? "") + (delta.content ?? ""));
    }
  }

  replica(turn, answer, name) {
    if (answer.replica !== null && answer.replica !== name) {
      turn.said.append(element("i", { class: "seam", title: "Here another replica went on, from the exact tokens" }, `→ ${name}`));
    }
    if (answer.replica !== name) {
      answer.replica = name;
      answer.span = element("span", { style: `--c:${colour(name)}`, "data-replica": name });
      turn.said.append(answer.span);
      if (!turn.who.querySelector(`[data-name="${CSS.escape(name)}"]`)) {
        turn.who.append(element("span", { "data-name": name, style: `color:${colour(name)}` }, `■ ${name}`));
      }
    }
  }

  say(answer, text) {
    answer.text += text;
    const follows = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    answer.span?.append(text);
    if (follows) this.log.scrollTop = this.log.scrollHeight;
  }

  turn(kind, name) {
    const who = element("div", { class: "who" }, element("b", {}, name));
    const said = element("div", { class: "said" });
    this.log.append(element("div", { class: `turn ${kind}` }, who, said));
    this.log.scrollTop = this.log.scrollHeight;
    return { who, said };
  }

  note(turn, text) {
    turn.said.append(element("i", { class: "seam" }, text));
  }
}
