/**
 * What every provider across a network promises when the other side misbehaves: each ref is answered with the right
 * failure, in time, without a word of a credential, without following a redirect, and with no connection left. The
 * harness says how a good backend answers; the contract puts its misbehaviour in place of those answers, once for
 * every request and once only for the read itself, after the logins and look-ups before it went well.
 */
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { ProviderError, type ProviderFailure } from "../../src/errors.ts";
import type { Provider } from "../../src/secrets/provider.ts";
import {
  type Answer,
  answers,
  HostileServer,
  json,
  type Received,
  redirects,
  refusingUrl,
} from "../helpers/hostile-server.ts";
import { type Misbehaviour, misbehaviours } from "../helpers/misbehaviours.ts";
import { type PrivateCa, privateCa } from "../helpers/private-ca.ts";
import { until } from "../helpers/processes.ts";
import { type OpenHarness, printed } from "./contract.ts";

export interface RemoteHarness<Ref extends object> {
  /** `ca` is the PEM of the authority to trust; without it only those that Node trusts. Time is the real one. */
  open(at: { readonly url: string; readonly ca?: string }): Promise<OpenHarness<Ref>>;
  /** What a good backend would answer; entry `plain` has the value `value`, no other is ever asked for alone. */
  good(request: Received, url: string): Answer;
  /** The text of the entry `plain`. */
  readonly value: string;
  /** True for the request that reads the secret; without it every request is one. */
  isRead?(request: Received): boolean;
  /** Tokens, secret-ids and values that may be in no error. */
  readonly canaries: readonly string[];
  /** `required`: the provider speaks only https, so every server of this contract does. */
  readonly tls: "required" | "optional";
  /** This backend's way to say 403; without it a plain JSON object. */
  readonly forbidden?: Answer;
}

/** In it a provider has to have given up by itself, before the 10 s that a profile grants. */
const PATIENCE_MS = 9_500;
/** For a read that succeeds, which may have an SDK to load first. */
const READ_MS = 60_000;
/** The deadline of a test in which nothing but the deadline ends the wait. */
const DEADLINE_MS = 1_500;
/** How long after its deadline a fetch may take to notice, on a machine with much else to do. */
const GRACE_MS = 15_000;
/** No provider reads more than this of an answer, all its tries together. */
const MAX_ANSWER_BYTES = 64 * 1_048_576;

export function describeRemoteContract<Ref extends object>(name: string, harness: RemoteHarness<Ref>): void {
  const WHERE = harness.isRead
    ? (["to every request", "to the read itself"] as const)
    : (["to every request"] as const);

  let tls: PrivateCa;
  const servers: HostileServer[] = [];
  const opened: OpenHarness<Ref>[] = [];

  const listen = async (behave: HostileServer["behave"], withTls = harness.tls === "required") => {
    const server = await HostileServer.start({ behave, ...(withTls && { tls }) });
    servers.push(server);
    return server;
  };
  const open = async (url: string, ca: string | undefined = url.startsWith("https") ? tls.ca : undefined) => {
    const one = await harness.open({ url, ...(ca !== undefined && { ca }) });
    opened.push(one);
    return one;
  };
  /** A server that is good but for what it does to every request, or to the read. */
  const listenBadly = async (where: (typeof WHERE)[number], misbehaviour: Misbehaviour["of"]) => {
    const server: HostileServer = await listen((request) => {
      const good = harness.good(request, server.url);
      return where === "to every request" || harness.isRead?.(request)
        ? misbehaviour(good, request)
        : answers(good);
    });
    return server;
  };
  const listenWell = async (withTls?: boolean) => {
    const server: HostileServer = await listen(
      (request) => answers(harness.good(request, server.url)),
      withTls,
    );
    return server;
  };
  const expectNoCanary = (thing: unknown) => {
    for (const canary of [...harness.canaries, harness.value, "canary-"]) {
      expect(printed(thing)).not.toContain(canary);
    }
  };

  beforeAll(async () => {
    tls = await privateCa();
  });

  afterEach(async () => {
    for (const one of opened.splice(0)) {
      await one.provider.close();
      await one.dispose();
    }
    for (const server of servers.splice(0)) await server.stop();
  });

  describe(`the contract of a provider across a network: ${name}`, () => {
    it("reads from a server that behaves, and leaves no connection behind", async () => {
      const server = await listenWell();
      const { provider, ref } = await open(server.url);

      expect(await readValue(provider, ref("plain"))).toBe(harness.value);

      await provider.close();
      await until("every connection is closed", () => server.connections === 0);
    });

    describe.each(WHERE)("when the server, %s,", (where) => {
      it.each(misbehaviours(harness.forbidden).map((one) => [one.name, one] as const))(
        "%s",
        async (_name, { of, failures, says, untilDeadline }) => {
          const server = await listenBadly(where, of);
          const { provider, ref } = await open(server.url);
          const patience = untilDeadline ? DEADLINE_MS : PATIENCE_MS;
          const isAsked = until("it is asked", () => server.requests.length > 0);

          const { outcomes, ms } = await failuresOf(provider, ref, patience, isAsked);

          const expected = untilDeadline ? [...failures, "aborted"] : failures;
          for (const outcome of outcomes) expect(expected, outcome.text).toContain(outcome.failure);
          for (const outcome of outcomes) if (says) expect(outcome.text).toMatch(says);
          for (const outcome of outcomes) expectNoCanary(outcome.thrown);
          expect(server.requests.length).toBeGreaterThan(0);
          expect(ms).toBeLessThan(patience + GRACE_MS);
          expect(server.bytesWritten).toBeLessThan(MAX_ANSWER_BYTES);
          await provider.close();
          await until("every connection is closed", () => server.connections === 0);
        },
      );

      it.each([302, 307])("redirects to another host with %d: that one is never asked", async (status) => {
        const other = await listenWell();
        const server = await listenBadly(where, () => redirects(`${other.url}/v1/elsewhere`, status));
        const { provider, ref } = await open(server.url);

        const { outcomes } = await failuresOf(provider, ref, PATIENCE_MS);

        for (const outcome of outcomes) {
          expect(["invalid", "unavailable", "denied"], outcome.text).toContain(outcome.failure);
          expect(outcome.text).toMatch(new RegExp(`${status}|redirect`, "i"));
          expectNoCanary(outcome.thrown);
        }
        expect(other.requests).toEqual([]);
        expect(other.connections).toBe(0);
      });

      it("asks it to wait: it is asked again after that time, and the secret is read", async () => {
        const refused: number[] = [];
        const server = await listenBadly(where, (good, { at }) => {
          if (refused.length > 0) return answers(good);
          refused.push(at);
          return answers({ ...json({}, 429), headers: { "retry-after": "1" } });
        });
        const { provider, ref } = await open(server.url);

        expect(await readValue(provider, ref("plain"))).toBe(harness.value);

        const next = server.requests.find(({ at }) => at > refused[0]!)!;
        expect(next.at - refused[0]!).toBeGreaterThan(990);
      });

      it("asks it to wait longer than it may: the failure says so", async () => {
        const server = await listenBadly(where, () =>
          answers({ ...json({}, 429), headers: { "retry-after": "3600" } }),
        );
        const { provider, ref } = await open(server.url);

        const { outcomes } = await failuresOf(provider, ref, DEADLINE_MS);

        for (const { failure, text } of outcomes) {
          expect(["unavailable", "aborted"], text).toContain(failure);
          if (failure === "unavailable") expect(text).toMatch(/429/);
        }
      });
    });

    it("says that nobody listens at the address", async () => {
      const { provider, ref } = await open(await refusingUrl(harness.tls === "required" ? "https" : "http"));

      const { outcomes } = await failuresOf(provider, ref, PATIENCE_MS);

      for (const outcome of outcomes) {
        expect(outcome.failure, outcome.text).toBe("unavailable");
        expect(outcome.text).toMatch(/refused/i);
        expectNoCanary(outcome.thrown);
      }
    });

    it("trusts the authority that it was told to trust", async () => {
      const server = await listenWell(true);
      const { provider, ref } = await open(server.url, tls.ca);

      expect(await readValue(provider, ref("plain"))).toBe(harness.value);

      await provider.close();
      await until("every connection is closed", () => server.connections === 0);
    });

    it("trusts no other, sends it nothing, and says what to do about the authority", async () => {
      const server = await listenWell(true);
      const stranger = await privateCa();
      for (const ca of [undefined, stranger.ca]) {
        const one = await harness.open({ url: server.url, ...(ca !== undefined && { ca }) });
        opened.push(one);

        const { outcomes } = await failuresOf(one.provider, one.ref, PATIENCE_MS);

        for (const outcome of outcomes) {
          expect(outcome.failure, outcome.text).toBe("unavailable");
          expect(outcome.text).toMatch(/certificate/i);
          expect((outcome.thrown as ProviderError).hint).toMatch(/\bCA\b|authority/);
          expectNoCanary(outcome.thrown);
        }
      }
      expect(server.requests).toEqual([]);
    });
  });
}

interface Outcome {
  readonly failure: ProviderFailure | "aborted" | "no failure";
  readonly thrown: unknown;
  /** Reason and hint, for an assertion and its message. */
  readonly text: string;
}

/**
 * How one ref alone and two at once fare: backends have calls of their own for the one and the other.
 *
 * @param begun the deadline is counted from there on
 */
async function failuresOf<Ref extends object>(
  provider: Provider<Ref>,
  ref: (name: string) => Ref,
  deadlineMs: number,
  begun: Promise<unknown> = Promise.resolve(),
): Promise<{ outcomes: readonly Outcome[]; ms: number }> {
  const deadline = new AbortController();
  const { signal } = deadline;
  let startedAt = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const begin = () => {
    startedAt = performance.now();
    timer = setTimeout(() => deadline.abort(new DOMException("too late", "TimeoutError")), deadlineMs);
  };
  const beginning = begun.then(begin, begin);
  const outcomes = await Promise.all(
    [[ref("plain")], [ref("plain"), ref("other")]].map(async (refs): Promise<Outcome[]> => {
      try {
        const answer = await provider.fetch(refs, signal);
        return refs.map((one) => outcomeOf(answer.get(one)));
      } catch (error) {
        return [
          signal.aborted && error === signal.reason
            ? { failure: "aborted", thrown: error, text: "ended by its deadline" }
            : outcomeOf(error),
        ];
      }
    }),
  );
  await beginning;
  clearTimeout(timer);
  return { outcomes: outcomes.flat(), ms: performance.now() - startedAt };
}

function outcomeOf(thrown: unknown): Outcome {
  if (!(thrown instanceof ProviderError)) return { failure: "no failure", thrown, text: printed(thrown) };
  return { failure: thrown.failure, thrown, text: `${thrown.failure}: ${thrown.reason}; ${thrown.hint}` };
}

async function readValue<Ref extends object>(provider: Provider<Ref>, ref: Ref): Promise<string> {
  const found = (await provider.fetch([ref], AbortSignal.timeout(READ_MS))).get(ref);
  if (found === undefined || found instanceof ProviderError) throw new Error(outcomeOf(found).text);
  return found.value.reveal();
}
