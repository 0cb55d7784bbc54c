import { Agent, get } from "node:http";
import { get as getTls } from "node:https";
import { afterEach, describe, expect, it } from "vitest";
import {
  answers,
  type Behaviour,
  diesHalfWay,
  drips,
  endless,
  HostileServer,
  json,
  redirects,
  refusingUrl,
  silent,
} from "./hostile-server.ts";
import { privateCa } from "./private-ca.ts";
import { until } from "./processes.ts";

const started: HostileServer[] = [];

async function serverThat(behaviour: Behaviour): Promise<HostileServer> {
  const server = await HostileServer.start({ behave: () => behaviour });
  started.push(server);
  return server;
}

afterEach(async () => {
  for (const server of started.splice(0)) await server.stop();
});

describe("the hostile server", () => {
  it("answers what it was told, and remembers what it was asked", async () => {
    const server = await serverThat(answers(json({ said: "canary-answer" }, 418)));

    const response = await fetch(`${server.url}/a/b?c=d`, { headers: { "x-token": "canary-token" } });

    expect([response.status, await response.json()]).toEqual([418, { said: "canary-answer" }]);
    expect(server.requests).toMatchObject([
      { method: "GET", path: "/a/b?c=d", headers: { "x-token": "canary-token" } },
    ]);
  });

  it("behaves by what came before", async () => {
    const server = await HostileServer.start({
      behave: (_request, earlier) => answers({ status: earlier.length === 0 ? 429 : 200 }),
    });
    started.push(server);

    const statuses = [(await fetch(server.url)).status, (await fetch(server.url)).status];

    expect(statuses).toEqual([429, 200]);
  });

  it("says nothing for as long as anybody waits", async () => {
    const server = await serverThat(silent);

    const stop = new AbortController();
    const refused = expect(fetch(server.url, { signal: stop.signal })).rejects.toThrow("aborted");
    await expect.poll(() => server.requests).toHaveLength(1);

    stop.abort();

    await refused;
  });

  it("dies half-way through its answer", async () => {
    const server = await serverThat(diesHalfWay(json({ value: "canary-half" })));

    const response = await fetch(server.url);

    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow("terminated");
  });

  it("drips", async () => {
    const server = await serverThat(drips({ body: "drip" }, 5));

    const pieces: string[] = [];
    for await (const piece of (await fetch(server.url)).body!) pieces.push(Buffer.from(piece).toString());

    expect(pieces).toEqual(["d", "r", "i", "p"]);
  });

  it("never ends its answer, and counts what went out", async () => {
    const server = await serverThat(endless({ body: '{"value":"' }));
    let read = 0;

    for await (const piece of (await fetch(server.url)).body!) {
      read += piece.length;
      if (read > 1_000_000) break;
    }

    expect(server.bytesWritten).toBeGreaterThan(1_000_000);
  });

  it("redirects to another server, which sees who follows", async () => {
    const other = await serverThat(answers({ body: "followed" }));
    const server = await serverThat(redirects(`${other.url}/elsewhere`));

    await fetch(server.url, { headers: { "x-token": "canary-token" } });

    expect(other.requests).toMatchObject([{ path: "/elsewhere", headers: { "x-token": "canary-token" } }]);
  });

  it("speaks https with a certificate that only those take who trust its authority", async () => {
    const tls = await privateCa();
    const server = await HostileServer.start({ tls, behave: () => answers({ body: "in private" }) });
    started.push(server);
    const statusWith = (ca?: string) =>
      new Promise((resolve) => {
        const request = getTls(`${server.url}/`, { ca, agent: false }, (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        request.on("error", (error: NodeJS.ErrnoException) => resolve(error.code));
      });

    expect(await statusWith(tls.ca)).toBe(200);
    expect(await statusWith()).toBe("UNABLE_TO_VERIFY_LEAF_SIGNATURE");
  });

  it("counts the connections that are open, and leaves it to the other side to close them", async () => {
    const server = await serverThat(answers({ body: "hello" }));
    const agent = new Agent({ keepAlive: true });
    await new Promise((resolve) => get(server.url, { agent }, (response) => resolve(response.resume())));

    expect(server.connections).toBe(1);

    agent.destroy();
    await until("the connection is closed", () => server.connections === 0);
  });

  it("ends every connection when it stops, and may be stopped twice", async () => {
    const server = await serverThat(silent);
    const answer = fetch(server.url);
    const failure = answer.catch((error: Error) => error.message);
    await until("the request has come", () => server.requests.length === 1);

    await server.stop();
    await server.stop();

    expect(await failure).toBe("fetch failed");
    expect(server.connections).toBe(0);
  });

  it("knows an address where nobody listens", async () => {
    await expect(fetch(await refusingUrl("http"))).rejects.toMatchObject({ cause: { code: "ECONNREFUSED" } });
  });
});
