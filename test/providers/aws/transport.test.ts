import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { isExempt } from "../../../providers/aws/proxy.ts";
import type { AwsRef } from "../../../providers/aws/ref.ts";
import type { RotatableStore } from "../../../src/secrets/provider.ts";
import { answers, HostileServer, json } from "../../helpers/hostile-server.ts";
import { type PrivateCa, privateCa } from "../../helpers/private-ca.ts";
import { printed, read, revealed, settled } from "../contract.ts";
import { CANARY_KEYS, openAws, refTo } from "./harness.ts";

let tls: PrivateCa;
let folder: string;
let caCert: string;
let server: HostileServer;
const opened: RotatableStore<AwsRef>[] = [];

const open = async (...[settings, overrides]: Parameters<typeof openAws>) => {
  const store = await openAws(settings, overrides);
  opened.push(store);
  return store;
};
const readThrough = async (env: Record<string, string>, host = "127.0.0.1") =>
  read(
    await open({ endpoint: `https://${host}:${server.port}`, caCert }, { env: { ...CANARY_KEYS, ...env } }),
    refTo("key"),
  );

beforeAll(async () => {
  tls = await privateCa();
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "mcp-run-aws-"));
  caCert = join(folder, "ca.pem");
  writeFileSync(caCert, tls.ca);
  server = await HostileServer.start({
    tls,
    behave: () =>
      answers(json({ SecretString: "canary-value", VersionId: "v1", VersionStages: ["AWSCURRENT"] })),
  });
});

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  await server.stop();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

/** A proxy that knows only CONNECT, and remembers who came by. */
class ConnectProxy {
  readonly tunnels: { readonly to: string | undefined; readonly login: string | undefined }[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #server: Server = createServer((_request, response) => response.writeHead(405).end());

  async start(): Promise<string> {
    this.#server.on("connect", (request, client: Socket, head) => {
      this.tunnels.push({ to: request.url, login: request.headers["proxy-authorization"] });
      const [host, port] = (request.url ?? "").split(":");
      const target = connect(Number(port), host === "secrets.example" ? "127.0.0.1" : host, () => {
        client.write("HTTP/1.1 200 Connection established\r\n\r\n");
        target.write(head);
        client.pipe(target).pipe(client);
      });
      for (const socket of [client, target]) {
        this.#sockets.add(socket);
        socket.on("error", () => socket.destroy());
        socket.on("close", () => (socket === client ? target : client).destroy());
      }
    });
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

describe("a proxy", () => {
  let proxy: ConnectProxy;
  let address: string;

  beforeEach(async () => {
    proxy = new ConnectProxy();
    address = await proxy.start();
  });

  afterEach(() => proxy.stop());

  it.each(["HTTPS_PROXY", "https_proxy"])(
    "that %s names is tunnelled through, TLS verified to the end",
    async (name) => {
      expect(revealed(await readThrough({ [name]: `http://${address}` }))).toBe("canary-value");

      expect(proxy.tunnels).toEqual([{ to: `127.0.0.1:${server.port}`, login: undefined }]);
    },
  );

  it("gets its login, and nobody else sees it", async () => {
    const answer = await readThrough({ HTTPS_PROXY: `http://canary-user:canary%40pass@${address}` });

    expect(revealed(answer)).toBe("canary-value");
    const login = `Basic ${Buffer.from("canary-user:canary@pass").toString("base64")}`;
    expect(proxy.tunnels[0]?.login).toBe(login);
    expect(server.requests[0]?.headers["proxy-authorization"]).toBeUndefined();
    expect(printed(opened.at(-1))).not.toContain("canary");
  });

  it("is left aside for the hosts of NO_PROXY", async () => {
    expect(
      revealed(await readThrough({ HTTPS_PROXY: `http://${address}`, NO_PROXY: "x.example, 127.0.0.1" })),
    ).toBe("canary-value");

    expect(proxy.tunnels).toEqual([]);
  });

  it("that nobody is at makes the backend unavailable", async () => {
    await proxy.stop();

    expect(await readThrough({ HTTPS_PROXY: `http://${address}` })).toMatchObject({
      failure: "unavailable",
      reason: expect.stringContaining("ECONNREFUSED"),
    });
  });

  it("that is no address is an error that does not repeat it", async () => {
    const outcome = await settled(readThrough({ HTTPS_PROXY: "canary-user:canary-pass@proxy" }));

    expect(outcome).toMatchObject({
      failure: "invalid",
      reason: "HTTPS_PROXY is no http:// or https:// address",
    });
    expect(printed(outcome)).not.toContain("canary");
  });
});

describe("NO_PROXY", () => {
  it.each([
    ["secretsmanager.eu-west-1.amazonaws.com", "amazonaws.com", true],
    ["secretsmanager.eu-west-1.amazonaws.com", ".amazonaws.com", true],
    ["secretsmanager.eu-west-1.amazonaws.com", "*.AMAZONAWS.com", true],
    ["secretsmanager.eu-west-1.amazonaws.com", "*", true],
    ["secretsmanager.eu-west-1.amazonaws.com", "secretsmanager.eu-west-1.amazonaws.com:443", true],
    ["secretsmanager.eu-west-1.amazonaws.com", "secretsmanager.eu-west-1.amazonaws.com:8443", false],
    ["secretsmanager.eu-west-1.amazonaws.com", "naws.com,other.example", false],
    ["secretsmanager.eu-west-1.amazonaws.com", "", false],
  ])("%s by %j: %s", (host, noProxy, exempt) => {
    expect(isExempt(host, 443, noProxy)).toBe(exempt);
  });
});

describe("the way out", () => {
  it("trusts the bundle of AWS_CA_BUNDLE", async () => {
    const store = await open({ endpoint: server.url }, { env: { ...CANARY_KEYS, AWS_CA_BUNDLE: caCert } });

    expect(revealed(await read(store, refTo("key")))).toBe("canary-value");
  });

  it.each(["without a proxy", "through a proxy"])(
    "is not told by the environment to trust anybody, %s",
    async (way) => {
      const proxy = new ConnectProxy();
      const address = await proxy.start();
      vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
      const env = { ...CANARY_KEYS, ...(way === "through a proxy" && { HTTPS_PROXY: `http://${address}` }) };
      const store = await open({ endpoint: `https://127.0.0.1:${server.port}` }, { env });

      const refusal = await settled(read(store, refTo("key")));

      expect(refusal).toMatchObject({
        failure: "unavailable",
        reason: expect.stringContaining("certificate"),
      });
      await proxy.stop();
    },
  );

  it("says which certificate file can't be read", async () => {
    expect(await settled(openAws({ caCert: "/nonexistent/ca.pem" }))).toMatchObject({
      failure: "invalid",
      reason: "can't read the certificates in /nonexistent/ca.pem (ENOENT)",
    });
  });

  it("never leads to plain http on another machine, wherever the address came from", async () => {
    const config = join(folder, "config");
    writeFileSync(config, "[default]\nendpoint_url = http://secrets.example:80\n");
    vi.stubEnv("AWS_CONFIG_FILE", config);
    vi.stubEnv("AWS_ENDPOINT_URL", undefined);
    const store = await open({});

    expect(await read(store, refTo("key"))).toMatchObject({
      failure: "invalid",
      reason: "its endpoint is http://, which is for this machine only",
    });
  });
});
