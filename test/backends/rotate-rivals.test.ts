/** Two machines that replace the same key, and what changes under a rotation: the store, by a person, and the profile. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import {
  closings,
  DOCUMENT,
  type Drill,
  idIn,
  isAllWell,
  motoStore,
  OLD,
  PATH,
  PATIENCE_MS,
  SIBLING,
  vaultStore,
} from "../helpers/drill.ts";
import { isStopped, until } from "../helpers/processes.ts";

/** The real stores, and how a person writes a whole document to them. */
const STORES = {
  Vault: async () => {
    const { vault, drill, now } = await vaultStore();
    const type = (data: object, name = "app") => vault.must("POST", PATH.replace(/app$/, name), { data });
    const create = type;
    return { vault, drill, now, type, create, ref: "vault:secret/mcp" };
  },
  AWS: async () => {
    const { moto, drill, now } = await motoStore();
    const type = (data: object, name = "app") =>
      moto.must("PutSecretValue", { SecretId: `mcp/${name}`, SecretString: JSON.stringify(data) });
    const create = (data: object, name: string) =>
      moto.must("CreateSecret", { Name: `mcp/${name}`, SecretString: JSON.stringify(data) });
    return { drill, now, type, create, ref: "aws:mcp" };
  },
};
type StoreName = keyof typeof STORES;

/** A rotation that stands still when it has taken this step; `goOn` has it end, `kill` at once. */
async function standingAfter(drill: Drill, step: string, args: readonly string[] = []) {
  const { child, ended } = drill.signalAfter(`✔ ${step}`, "SIGSTOP", args);
  const over = ended.then(() => true);
  let isOver = false;
  void over.then((is) => {
    isOver = is;
  });
  await until(`it stands after ${step}`, () => isOver || isStopped(child.pid ?? 0), 2 * PATIENCE_MS);
  return {
    goOn: () => {
      child.kill("SIGCONT");
      return ended;
    },
    kill: () => {
      child.kill("SIGKILL");
      return ended;
    },
  };
}

describeBackend("two machines with a key of the same store", ["vault", "moto"], () => {
  it.each<[StoreName, string]>([
    ["Vault", "lock"],
    ["Vault", "canary"],
    ["AWS", "canary"],
  ])("leave it to one of them, in %s, if the second begins after %s of the first", async (name, step) => {
    const { drill, now } = await STORES[name]();
    const other = drill.elsewhere();
    const first = await standingAfter(drill, step);

    const theirs = await other.rotate();
    const ours = await first.goOn();

    const [winner, loser] = step === "lock" ? [theirs, ours] : [ours, theirs];
    expect(winner, winner.out).toMatchObject({ status: 0 });
    const is = step === "lock" ? 69 : 75;
    expect(loser, loser.out).toMatchObject({ status: is });
    expect(loser.out).toContain(step === "lock" ? "somebody has changed KEY in" : `rotation ${idIn(winner)}`);
    await isAllWell(drill, now);
    expect(other.home.run(["audit", "verify"])).toMatchObject({ status: 0 });
  });

  it.each<StoreName>(["Vault", "AWS"])(
    "both end their old keys, in %s, if the second begins when the first has promoted, and no request meets one",
    async (name) => {
      const { drill, now } = await STORES[name]();
      await drill.serve("p", 2);
      const other = drill.elsewhere();

      const { result, traffic } = await drill.underLoad(async () => {
        const first = await standingAfter(drill, "promote");
        const theirs = await other.rotate();
        return [theirs, await first.goOn()];
      });

      const [theirs, ours] = result;
      expect(theirs, theirs?.out).toMatchObject({ status: 0 });
      expect(ours, ours?.out).toMatchObject({ status: 0 });
      expect(ours?.out).toContain("somebody else has replaced KEY of");
      expect(traffic.wrong).toEqual([]);
      await isAllWell(drill, now);
    },
  );

  it.each<StoreName>(["Vault", "AWS"])(
    "leave it to the second, in %s, if that takes over from the first, which is still under way",
    async (name) => {
      const { drill, now } = await STORES[name]();
      const other = drill.elsewhere();
      const first = await standingAfter(drill, "canary");
      const refused = await other.rotate();

      const theirs = await other.rotate(["--take-over", idIn(refused)]);
      const ours = await first.goOn();

      expect(theirs, theirs.out).toMatchObject({ status: 0 });
      expect(ours, ours.out).toMatchObject({ status: 69 });
      expect(idIn(ours)).toBe(idIn(refused));
      expect(drill.asked(idIn(ours))).toContain("revoke");
      await isAllWell(drill, now);
    },
  );

  it.each<StoreName>(["Vault", "AWS"])(
    "under active abuse, in %s, spread what they have and end what nobody needs, if somebody replaces one of several",
    async (name) => {
      const { drill, now, type, create, ref } = await STORES[name]();
      await create({ key: "canary-other-leaked" }, "other");
      const issuer = mkdtempSync(join(tmpdir(), "mcp-run-issuer-"));
      closings.push(() => rmSync(issuer, { recursive: true, force: true }));
      writeFileSync(join(issuer, "valid"), "canary-other-leaked\n");
      const hook = `[${process.execPath}, ${join(drill.issuer, "hook.mjs")}, ${issuer}]`;
      const other = `  OTHER: { from: "${ref}/other#key", rotate: { hook: ${hook}, grantOldValue: true } }\n`;
      appendFileSync(join(drill.home.home, "config/profiles/p.yaml"), other);
      await drill.serve("p", 2);

      const first = await standingAfter(drill, "canary", ["--all", "--revoke-first"]);
      await type({ key: "canary-theirs" }, "other");
      const result = await first.goOn();

      expect(result, result.out).toMatchObject({ status: 0 });
      expect(result.out).toMatch(/→ set-aside: somebody else has replaced OTHER of \S+mcp\/other since/);
      expect(result.out.indexOf("✔ spread")).toBeLessThan(result.out.indexOf("✔ revoke-new"));
      expect(result.out).not.toContain("STILL VALID");
      expect(readFileSync(join(issuer, "valid"), "utf8").trim()).toBe("");
      await isAllWell(drill, now);
    },
  );

  it("end both old keys if the first died after its promotion and is gone on with after the second", async () => {
    const { drill, now } = await STORES.Vault();
    const killed = await drill.endAfter("✔ promote", "SIGKILL");
    const theirs = await drill.elsewhere().rotate();

    const undone = await drill.start(["p", "--rollback", idIn(killed)]).ended;
    const resumed = await drill.resume(idIn(killed));

    expect(theirs, theirs.out).toMatchObject({ status: 0 });
    expect(undone, undone.out).toMatchObject({ status: 75 });
    expect(undone.out).toContain(
      "somebody has changed vault:mcp/app since it was promoted".replace(":", ":secret/"),
    );
    expect(undone.out).toContain(`--resume ${idIn(killed)}`);
    expect(resumed, resumed.out).toMatchObject({ status: 0 });
    await isAllWell(drill, now);
  });
});

describeBackend("a person who writes to the store during a rotation", ["vault", "moto"], () => {
  it.each<StoreName>(["Vault", "AWS"])(
    "keeps another field that was written, in %s, and goes on with it",
    async (name) => {
      const { drill, now, type } = await STORES[name]();
      const rotation = await standingAfter(drill, "canary");
      await type({ ...DOCUMENT, more: "canary-more" });

      const ended = await rotation.goOn();

      expect(ended, ended.out).toMatchObject({ status: 0 });
      expect(ended.out).toContain("rebase");
      expect(await now()).toMatchObject({ more: "canary-more" });
      await isAllWell(drill, now);
    },
  );

  it.each<StoreName>(["Vault", "AWS"])(
    "keeps another field that was written, in %s, also when the rotation died before and is gone on with",
    async (name) => {
      const { drill, now, type } = await STORES[name]();
      const rotation = await standingAfter(drill, "canary");
      const killed = await rotation.kill();
      await type({ ...DOCUMENT, more: "canary-more" });

      const resumed = await drill.resume(idIn(killed));

      expect(resumed, resumed.out).toMatchObject({ status: 0 });
      expect(resumed.out).toContain("rebase");
      expect(await now()).toMatchObject({ more: "canary-more" });
      await isAllWell(drill, now);
    },
  );

  it.each<StoreName>(["Vault", "AWS"])("keeps another key that was written, in %s", async (name) => {
    const { drill, now, type } = await STORES[name]();
    const rotation = await standingAfter(drill, "canary");
    await type({ key: "canary-key-typed", sibling: SIBLING });

    const ended = await rotation.goOn();

    expect(ended, ended.out).toMatchObject({ status: 69 });
    expect(ended.out).toMatch(
      /somebody has changed KEY in \S+ since the plan was made, and the old key may be valid/,
    );
    expect(await now()).toMatchObject({ key: "canary-key-typed" });
    expect(drill.valid).toEqual([OLD]);
  });

  it.each<StoreName>(["Vault", "AWS"])(
    "keeps the old key alive, in %s, which was written again after the promotion",
    async (name) => {
      const { drill, now, type } = await STORES[name]();
      const rotation = await standingAfter(drill, "spread");
      await type(DOCUMENT);

      const stuck = await rotation.goOn();
      const before = drill.valid;
      const undone = await drill.start(["p", "--rollback", idIn(stuck)]).ended;

      expect(stuck, stuck.out).toMatchObject({ status: 75 });
      expect(stuck.out).toContain("somebody has put the old KEY back into");
      expect(before).toContain(OLD);
      expect(undone, undone.out).toMatchObject({ status: 0 });
      expect(await now()).toEqual(DOCUMENT);
      expect(drill.valid).toEqual([OLD]);
    },
  );
});

describeBackend("a profile that changes under a rotation", ["vault"], () => {
  it("is refused until it is as it was, and nothing else is touched", async () => {
    const { vault, drill, now } = await STORES.Vault();
    const file = join(drill.home.home, "config/profiles/p.yaml");
    const text = drill.home.read("config/profiles/p.yaml").toString();
    await vault.must("POST", "secret/data/mcp/other", {
      data: { key: "canary-key-other", sibling: SIBLING },
    });
    drill.valid = [OLD, "canary-key-other"];
    const killed = await drill.endAfter("✔ spread", "SIGKILL");
    const id = idIn(killed);
    const asked = drill.asked();
    const rotate = /rotate: \{.*\} \}/;
    const changes: readonly (readonly [string, number, string])[] = [
      [text.replace("  KEY:", "  TOKEN:"), 78, "no longer has vault:secret/mcp/app as it was planned"],
      [text.replaceAll("mcp/app", "mcp/other"), 78, "no longer has vault:secret/mcp/app as it was planned"],
      [text.replace(/address: "[^"]*"/, `address: "${vault.url}"`), 78, "and it was planned for http"],
      [text.replace(rotate, "rotate: { generate: { bytes: 32 } } }"), 78, "the plan has it from `hook`"],
      [text.replace(/, rotate: \{.*\} \}/, " }"), 78, "the plan has it from `hook`"],
    ];

    for (const [changed, status, says] of changes) {
      expect(changed).not.toBe(text);
      drill.home.profile("p", changed);
      const refused = await drill.resume(id);
      expect(refused, refused.out).toMatchObject({ status });
      expect(refused.out).toContain(says);
      expect(refused.out).toMatch(/ as (it was|they were) when the rotation began/);
    }
    rmSync(file);
    const gone = await drill.resume(id);
    expect(gone, gone.out).toMatchObject({ status: 66 });

    expect(drill.asked()).toEqual(asked);
    expect(drill.valid).toContain(OLD);
    drill.home.profile("p", text);
    const ended = await drill.resume(id);
    expect(ended, ended.out).toMatchObject({ status: 0 });
    expect(drill.valid).toEqual(["canary-key-other", (await now()).key]);
  });
});
