/** An MCP client that goes on calling one tool, and notes what came of it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";

const ANSWER_MS = 120_000;
const PAUSE_MS = 250;

export class Client {
  /** What the last answer said. */
  latest;
  count = 0;
  slowestMs = 0;
  failures = [];
  log = "";
  #child;
  #waiting = new Map();
  #id = 0;
  #isOver = false;
  #calling = Promise.resolve();

  constructor(command, args, env) {
    this.#child = spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"] });
    this.#child.on("error", (error) => this.#hangUp(error.code));
    this.#child.on("close", (code) => this.#hangUp(`the server's mcp-run has ended with ${code}`));
    this.#child.stdin.on("error", () => undefined);
    this.#child.stderr.on("data", (chunk) => {
      this.log += chunk;
    });
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      this.log += line;
      const message = JSON.parse(line);
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
    });
  }

  async shakeHands() {
    const clientInfo = { name: "drill", version: "1.0.0" };
    const { error } = await this.#ask("initialize", {
      protocolVersion: "2025-06-18",
      capabilities: {},
      clientInfo,
    });
    if (error) throw new Error(`a session did not begin: ${error.message}\n${this.log}`);
    this.#tell({ method: "notifications/initialized" });
  }

  /** Calls the tool until `close`. */
  begin(tool) {
    this.#calling = this.#callOnAndOn(tool);
  }

  async close() {
    this.#isOver = true;
    await this.#calling;
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, "close");
    this.#child.stdin.end();
    await gone;
  }

  async #callOnAndOn(name) {
    while (!this.#isOver) {
      const sentAt = performance.now();
      const { result, error } = await this.#ask("tools/call", { name, arguments: {} });
      this.count++;
      this.slowestMs = Math.max(this.slowestMs, performance.now() - sentAt);
      this.latest = result?.content?.[0]?.text;
      if (error || result.isError) this.failures.push(error?.message ?? this.latest);
      await pause(PAUSE_MS);
    }
  }

  async #ask(method, params) {
    const id = ++this.#id;
    const timer = setTimeout(() => this.#hangUp(`no answer within ${ANSWER_MS / 1000} s`), ANSWER_MS);
    const answered = new Promise((resolve) => {
      this.#waiting.set(id, resolve);
    });
    this.#tell({ id, method, params });
    const answer = await answered;
    clearTimeout(timer);
    return answer;
  }

  #tell(message) {
    this.#child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  /** Whoever waits, waits in vain. */
  #hangUp(message) {
    for (const resolve of this.#waiting.values()) resolve({ error: { message } });
    this.#waiting.clear();
  }
}
