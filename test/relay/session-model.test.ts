/**
 * Random courses of a session against a model: a client, servers that come, take over, drain, die and are given
 * up, in any order. Whatever happens, each request reaches one server once and is answered once.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Line } from "../../src/relay/line.ts";
import { Session } from "../../src/relay/session.ts";

type Step =
  | { readonly type: "request" | "cancel" | "answer" | "ask" | "reply" | "progress"; readonly pick: number }
  | {
      readonly type: "begin" | "take-over" | "drained" | "give-up" | "crash" | "hold" | "withhold" | "let-go";
    };

const lineOf = (message: object) =>
  new Line([], Buffer.from(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`));

/** The client and the servers, as far as they can tell right from wrong. */
class World {
  readonly session = new Session();
  /** Requests of the client that are open, and every answer that came. */
  readonly open = new Set<number>();
  readonly answers = new Map<number, number>();
  /** Cancelled before any server had heard of them. */
  readonly cancelledInTime = new Set<number>();
  /** What each living server has to do, and what any server has ever been asked. */
  readonly servers = new Map<number, Set<number>>();
  readonly delivered = new Map<number, number>();
  /** What the servers asked: by the id that the client saw. */
  readonly asked = new Map<string, { readonly generation: number; readonly id: number }>();
  readonly replies: string[] = [];
  current: number | undefined;
  next: number | undefined;
  draining: number | undefined;
  #lastGeneration = 0;
  #lastId = 0;
  #lastQuestion = 0;

  constructor() {
    this.begin();
    this.takeOver();
  }

  begin(): void {
    if (this.next !== undefined || (this.draining !== undefined && this.current !== undefined)) return;
    this.next = ++this.#lastGeneration;
    this.servers.set(this.next, new Set());
    this.session.begin(this.next);
  }

  takeOver(): void {
    if (this.next === undefined) return;
    if (this.current !== undefined) this.draining = this.current;
    this.current = this.next;
    this.next = undefined;
    for (const bytes of this.session.takeOver(this.current)) this.#deliver(this.current, bytes);
  }

  letGo(): void {
    for (const bytes of this.session.letGo()) this.#deliver(this.current ?? 0, bytes);
  }

  request(): void {
    const id = ++this.#lastId;
    this.open.add(id);
    this.#clientSays({ id, method: "tools/call", params: {} });
  }

  cancel(pick: number): void {
    const id = nth(this.open, pick);
    if (id === undefined) return;
    if (!this.delivered.has(id)) this.cancelledInTime.add(id);
    this.open.delete(id);
    this.#clientSays({ method: "notifications/cancelled", params: { requestId: id } });
  }

  answer(pick: number): void {
    const generation = nth(new Set(this.servers.keys()), pick);
    const todo = generation === undefined ? undefined : this.servers.get(generation);
    const id = todo && nth(todo, pick);
    if (generation === undefined || !todo || id === undefined) return;
    todo.delete(id);
    this.#serverSays(generation, { id, result: {} });
  }

  ask(pick: number): void {
    const generation = nth(new Set(this.servers.keys()), pick);
    if (generation === undefined) return;
    const id = this.#lastQuestion++ % 3;
    if ([...this.asked.values()].some((other) => other.generation === generation && other.id === id)) return;
    for (const shown of this.#serverSays(generation, {
      id,
      method: "roots/list",
      params: { _meta: { progressToken: id } },
    })) {
      expect([...this.asked.keys()]).not.toContain(JSON.stringify(shown.id));
      this.asked.set(JSON.stringify(shown.id), { generation, id });
    }
  }

  reply(pick: number): void {
    const shown = nth(new Set(this.asked.keys()), pick);
    if (shown === undefined) return;
    const { generation, id } = this.asked.get(shown) ?? { generation: 0, id: 0 };
    this.asked.delete(shown);
    const letters = this.#clientSays({ id: JSON.parse(shown), result: { roots: [] } });
    expect(letters).toEqual([{ generation, message: { jsonrpc: "2.0", id, result: { roots: [] } } }]);
  }

  progress(pick: number): void {
    const shown = nth(new Set(this.asked.keys()), pick);
    if (shown === undefined) return;
    const { generation, id } = this.asked.get(shown) ?? { generation: 0, id: 0 };
    const letters = this.#clientSays({
      method: "notifications/progress",
      params: { progressToken: JSON.parse(shown) },
    });
    expect(letters).toMatchObject([{ generation, message: { params: { progressToken: id } } }]);
  }

  drained(): void {
    if (this.draining === undefined || this.session.isBusy(this.draining)) return;
    this.#end(this.draining);
  }

  giveUp(): void {
    if (this.draining === undefined) return;
    this.#tellClient(this.session.abandon(this.draining, "too slow"));
    // What it says now must not reach the client.
    for (const id of this.servers.get(this.draining) ?? [])
      this.#serverSays(this.draining, { id, result: {} });
    this.#end(this.draining);
  }

  crash(): void {
    if (this.current === undefined) return;
    this.session.lost(this.current);
    this.#end(this.current);
  }

  /** Everybody answers what is open, and a server is there for what is held. */
  finish(): void {
    if (this.next === undefined) this.giveUp();
    this.begin();
    this.takeOver();
    this.letGo();
    for (const [generation, todo] of this.servers) {
      for (const id of [...todo]) {
        todo.delete(id);
        this.#serverSays(generation, { id, result: {} });
      }
    }
  }

  #end(generation: number): void {
    this.#tellClient(this.session.over(generation, "gone"));
    this.servers.delete(generation);
    for (const [shown, asked] of this.asked) if (asked.generation === generation) this.asked.delete(shown);
    if (this.current === generation) this.current = undefined;
    if (this.draining === generation) this.draining = undefined;
  }

  #clientSays(message: object): { generation: number; message: unknown }[] {
    const line = lineOf(message);
    const verdict = this.session.clientSaid(line);
    const letters =
      verdict.to === "current" && this.current !== undefined
        ? [{ generation: this.current, bytes: line.bytes }]
        : verdict.to === "some"
          ? verdict.letters
          : [];
    if (verdict.to === "current") expect(this.current).toBeDefined();
    for (const { generation, bytes } of letters) this.#deliver(generation, bytes);
    return letters.map(({ generation, bytes }) => ({ generation, message: JSON.parse(bytes.toString()) }));
  }

  #deliver(generation: number, bytes: Buffer): void {
    const { id, method, params } = JSON.parse(bytes.toString());
    if (method === "tools/call") {
      expect([...this.cancelledInTime]).not.toContain(id);
      this.delivered.set(id, (this.delivered.get(id) ?? 0) + 1);
      this.servers.get(generation)?.add(id);
    } else if (method === "notifications/cancelled") this.servers.get(generation)?.delete(params.requestId);
  }

  #serverSays(generation: number, message: object): { id: unknown }[] {
    const line = lineOf(message);
    const verdict = this.session.serverSaid(generation, line);
    if (verdict === false) return [];
    return this.#tellClient(verdict === true ? [line.bytes] : verdict);
  }

  #tellClient(lines: readonly Buffer[]): { id: unknown }[] {
    return lines.map((bytes) => {
      const message = JSON.parse(bytes.toString());
      if (!("method" in message)) {
        this.answers.set(message.id, (this.answers.get(message.id) ?? 0) + 1);
        this.open.delete(message.id);
      }
      return message;
    });
  }
}

function nth<T>(set: ReadonlySet<T>, pick: number): T | undefined {
  return [...set][pick % Math.max(1, set.size)];
}

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constantFrom("request" as const, "answer" as const), pick: fc.nat(20) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constantFrom("cancel" as const, "ask" as const, "reply" as const, "progress" as const),
      pick: fc.nat(20),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constantFrom(
        "begin" as const,
        "take-over" as const,
        "drained" as const,
        "give-up" as const,
        "crash" as const,
        "hold" as const,
        "withhold" as const,
        "let-go" as const,
      ),
    }),
  },
);

const ACTIONS: Readonly<Record<Step["type"], (world: World, pick: number) => void>> = {
  request: (world) => world.request(),
  cancel: (world, pick) => world.cancel(pick),
  answer: (world, pick) => world.answer(pick),
  ask: (world, pick) => world.ask(pick),
  reply: (world, pick) => world.reply(pick),
  progress: (world, pick) => world.progress(pick),
  begin: (world) => world.begin(),
  "take-over": (world) => world.takeOver(),
  drained: (world) => world.drained(),
  "give-up": (world) => world.giveUp(),
  crash: (world) => world.crash(),
  hold: (world) => world.session.hold(),
  withhold: (world) => world.session.withhold(),
  "let-go": (world) => world.letGo(),
};

describe("a session, whatever happens", () => {
  it("gives each request to one server once, and one answer to the client", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: "max" }), (steps) => {
        const world = new World();
        for (const one of steps) ACTIONS[one.type](world, "pick" in one ? one.pick : 0);
        world.finish();

        expect([...world.open]).toEqual([]);
        expect([...world.delivered.values()].every((count) => count === 1)).toBe(true);
        for (const [id, count] of world.answers) expect([id, count]).toEqual([id, 1]);
        const left = [...world.servers.keys()].flatMap((number) => world.session.unanswered(number));
        expect([left, world.session.held.bytes]).toEqual([[], 0]);
      }),
      { numRuns: 1000 },
    );
  });
});
