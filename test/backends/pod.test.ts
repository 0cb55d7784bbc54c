/** The example with the CSI driver, run as its securityContext would have it, without a cluster. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { Installation, ROOT } from "../helpers/installation.ts";
import { until } from "../helpers/processes.ts";
import { podArguments, probe, whyNoPod, writeVolume } from "../services/pod.ts";

const MANIFEST = join(ROOT, "docs/services/kubernetes-csi.yaml");
const SERVER = `process.env.KEY = process.env.GITHUB_PERSONAL_ACCESS_TOKEN; import("/run/project/test/helpers/servers/keyed.mjs")`;
const whyNot = whyNoPod();

it.skipIf(whyNot === undefined)("a room like a pod's can be had on this machine", (context) => {
  process.stderr.write(`Skipped the example for Kubernetes in namespaces: ${whyNot}\n`);
  context.skip(whyNot ?? "");
});

describe.skipIf(whyNot !== undefined)("an agent's pod", () => {
  let files: Installation;
  let client: Client | undefined;
  beforeEach(() => {
    files = new Installation();
  });
  afterEach(async () => {
    await client?.close();
    files.remove();
  });

  it("serves from a root that can't be written, answers its probe, and takes a file that the driver has replaced", async () => {
    const [config, deployment] = ["ConfigMap", "Deployment"].map((kind) =>
      parseAllDocuments(readFileSync(MANIFEST, "utf8"))
        .map((document) => document.toJS())
        .find((object) => object.kind === kind),
    );
    const [agent] = deployment.spec.template.spec.containers;
    const env = Object.fromEntries(
      agent.env.map((one: { name: string; value: string }) => [one.name, one.value]),
    );
    const [, ...status] = agent.readinessProbe.exec.command;
    const profile = (config.data["mcp-run.yaml"] as string)
      .replace("/opt/github-mcp-server/index.js", `-e, ${JSON.stringify(SERVER)}`)
      .replace("every: 1m", "every: 1s");
    const folders = {
      config: join(files.home, "config-volume"),
      secrets: join(files.home, "secrets-volume"),
    };
    writeVolume(folders.config, { "mcp-run.yaml": profile }, "03");
    writeVolume(folders.secrets, { "github-token": "canary-one" }, "03");
    // Below /run, since /etc can't get a new folder here.
    env.MCP_RUN_CONFIG = "/run/config/mcp-run.yaml";
    const volumes = {
      "/run/mcp-run": "memory",
      "/run/config": { folder: folders.config },
      "/run/secrets/mcp": { folder: folders.secrets },
    } as const;
    const args = podArguments(volumes, env, ["github"]);
    const transport = new StdioClientTransport({ command: "unshare", args, stderr: "pipe" });
    let log = "";
    transport.stderr?.on("data", (chunk) => {
      log += chunk;
    });
    const session = new Client({ name: "agent", version: "1" });
    client = session;
    await session.connect(transport);
    const key = async () => {
      const { content } = (await session.callTool({ name: "key" })) as { content: { text: string }[] };
      return JSON.parse(content[0]?.text ?? "").key as string;
    };
    const pid = transport.pid ?? 0;

    const first = await key();
    await until("the probe finds it", () => probe(pid, env, status).status === 0);
    const other = probe(pid, env, ["status", "other", "--check"]);
    writeVolume(folders.secrets, { "github-token": "canary-two" }, "04");
    await until("the new file has been seen", () => log.includes("generation 2 has taken over"));
    const second = await key();

    expect([first, second]).toEqual(["canary-one", "canary-two"]);
    expect(other).toMatchObject({ status: 69, stdout: "" });
    expect(log).not.toMatch(/canary|Warning: (?!.*tells the client)/);
  });
});
