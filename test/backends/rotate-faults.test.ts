/** A rotation that is broken at each of its steps, while the clients of its servers go on asking, and gone on with. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeBackend } from "../helpers/backends.ts";
import {
  closings,
  DOCUMENT,
  endsWell,
  hash,
  idIn,
  isAllWell,
  motoStore,
  OLD,
  PATH,
  PATIENCE_MS,
  vaultStore,
} from "../helpers/drill.ts";
import { killAll, until } from "../helpers/processes.ts";

const SUPERVISORS = 20;

describeBackend("a rotation that goes wrong", ["vault", "moto"], () => {
  it("takes it back when the backend goes away before the promotion, as soon as it is there again", async () => {
    const { vault, gateway, drill, now, goAwayAt } = await vaultStore({ fetchTimeout: "10s" });
    await drill.serve("p", 3);
    let isThere = false;
    goAwayAt((method, path) => {
      const isBeside = path.endsWith("-mcp-run-pending");
      if (isThere && isBeside && method === "GET") return true;
      isThere ||= isBeside && method !== "GET";
      return false;
    });

    const { result: broken, traffic } = await drill.underLoad(() => drill.rotate());

    expect(broken, broken.out).toMatchObject({ status: 75 });
    expect(traffic.wrong).toEqual([]);
    expect(await now()).toEqual(DOCUMENT);
    expect(drill.valid).toContain(OLD);
    await gateway.open();
    const again = await drill.resume(idIn(broken));
    expect(again, again.out).toMatchObject({ status: 69 });
    expect(again.out).toContain("discarded");
    expect(drill.valid).toEqual([OLD]);
    expect((await vault.api("GET", `${PATH}-mcp-run-pending`)).status).toBe(404);

    const { status, out } = await drill.rotate();
    expect(status, out).toBe(0);
    await isAllWell(drill, now);
  });

  it("goes on when the backend has promoted and went away before it said so", async () => {
    const { gateway, drill, now, goAwayAt } = await vaultStore({ fetchTimeout: "10s" });
    await drill.serve("p", 3);
    goAwayAt((method, path) => method !== "GET" && path.endsWith(PATH));

    const { result: broken, traffic } = await drill.underLoad(() => drill.rotate());

    expect(broken, broken.out).toMatchObject({ status: 75 });
    expect(traffic.wrong).toEqual([]);
    await until("the write has come through", () =>
      gateway.passed.some(({ method, path }) => method !== "GET" && path.endsWith(PATH)),
    );
    expect(drill.valid).toContain(OLD);
    await gateway.open();
    await endsWell(drill, now, idIn(broken));
  });

  it("goes on when the backend that went away after the promotion is back", async () => {
    const { gateway, drill, now, goAwayAt } = await vaultStore({ fetchTimeout: "10s" });
    await drill.serve("p", 3);
    let isPromoted = false;
    goAwayAt((method, path) => {
      if (isPromoted && method === "GET") return true;
      isPromoted ||= method === "DELETE" && path.endsWith("-mcp-run-pending");
      return false;
    });

    const { result: broken, traffic } = await drill.underLoad(() => drill.rotate(["--ack-timeout", "2s"]));

    expect(broken, broken.out).toMatchObject({ status: 75 });
    expect(traffic.wrong).toEqual([]);
    expect(drill.valid).toContain(OLD);
    await gateway.open();
    await endsWell(drill, now, idIn(broken));
  });

  it.each(["find", "mint", "revoke", "verify"])(
    "goes on when it was killed while its hook was asked to %s, and has made one key",
    async (action) => {
      const { drill, now } = await vaultStore();
      await drill.serve("p", 2);

      const { result: killed, traffic } = await drill.underLoad(() => drill.rotate([], { KILL: action }));

      expect(killed.status).toBeNull();
      expect(traffic.wrong).toEqual([]);
      await endsWell(drill, now, idIn(killed));
    },
  );

  it.each(["lock", "mint", "candidate", "canary", "promote", "spread", "revoke", "verify"])(
    "goes on when it was killed after its step %s, and has made one key",
    async (step) => {
      const { drill, now } = await vaultStore();
      await drill.serve("p", 2);

      const { result: killed, traffic } = await drill.underLoad(() => drill.endAfter(`✔ ${step}`, "SIGKILL"));

      expect(killed.status).toBeNull();
      expect(traffic.wrong).toEqual([]);
      await endsWell(drill, now, idIn(killed));
    },
  );

  it("takes everything back at Ctrl-C before the promotion", async () => {
    const { vault, drill, now } = await vaultStore();
    await drill.serve("p", 2);
    writeFileSync(join(drill.issuer, "hold"), "");

    const { result: stopped, traffic } = await drill.underLoad(() => drill.endAfter("✔ candidate", "SIGINT"));

    expect(stopped.out).toContain("discarded");
    expect(stopped, stopped.out).toMatchObject({ status: 69 });
    expect(traffic.wrong).toEqual([]);
    expect(await now()).toEqual(DOCUMENT);
    expect(drill.valid).toEqual([OLD]);
    expect((await vault.api("GET", `${PATH}-mcp-run-pending`)).status).toBe(404);
  });

  it("stands still at Ctrl-C after the promotion, and goes on", async () => {
    const { drill, now } = await vaultStore();
    await drill.serve("p", 2);

    const { result: stopped, traffic } = await drill.underLoad(() => drill.endAfter("✔ promote", "SIGINT"));

    expect(stopped, stopped.out).toMatchObject({ status: 75 });
    expect(stopped.out).toContain("OLD KEY STILL VALID");
    expect(traffic.wrong).toEqual([]);
    expect(drill.valid).toContain(OLD);
    await endsWell(drill, now, idIn(stopped));
  });

  it("leaves the old key alone as long as a supervisor says nothing, and does not wait for one that has died", async () => {
    const { drill, now } = await vaultStore();
    await drill.serve("p", 3);
    await drill.told();
    const [silent, dying] = drill.sessions.splice(1, 2);
    process.kill(silent?.pid ?? 0, "SIGSTOP");
    closings.push(() => killAll([silent, dying].map((session) => session?.pid ?? 0)));

    const stuck = await drill.rotate(["--ack-timeout", "3s"]);

    expect(stuck, stuck.out).toMatchObject({ status: 75 });
    expect(drill.valid).toContain(OLD);
    process.kill(silent?.pid ?? 0, "SIGCONT");
    process.kill(dying?.pid ?? 0, "SIGKILL");
    const ended = await drill.resume(idIn(stuck));
    drill.sessions.push(...(silent ? [silent] : []));
    expect(ended, ended.out).toMatchObject({ status: 0 });
    await isAllWell(drill, now);
  });

  it("tells a second operator who is at it, and makes no key for the second", async () => {
    const { drill, now } = await vaultStore();
    await drill.serve("p", 2);
    writeFileSync(join(drill.issuer, "hold"), "");
    const first = drill.start(["p", "--reason", "first"]);
    let told = "";
    first.child.stdout?.on("data", (chunk) => {
      told += chunk;
    });
    await until("the candidate is there", () => told.includes("✔ candidate"), PATIENCE_MS);

    const second = await drill.rotate();
    rmSync(join(drill.issuer, "hold"));
    const ended = await first.ended;

    expect(second.out).toContain(idIn(ended));
    expect(second.out).toMatch(/\w+@\S+/);
    expect(second.out).toContain("it is being rotated by");
    expect(second.status, second.out).not.toBe(0);
    expect(ended, ended.out).toMatchObject({ status: 0 });
    expect(drill.asked()).toEqual(["find", "mint", "revoke", "verify"]);
    await isAllWell(drill, now);
  });

  it.each([
    ["Vault", vaultStore],
    ["AWS", motoStore],
  ])("lets one of two operators win who begin together, in %s", async (_, store) => {
    const { drill, now } = await store();
    await drill.serve("p", 2);

    writeFileSync(join(drill.issuer, "hold"), "");

    const { result: both, traffic } = await drill.underLoad(async () => {
      const rotations = [drill.rotate(["--secret", "KEY"]), drill.rotate()];
      // Else the one might be through before the other has begun.
      await Promise.race(rotations);
      rmSync(join(drill.issuer, "hold"));
      return Promise.all(rotations);
    });

    const report = both.map(({ status, out }) => `${status}\n${out}`).join("\n");
    const [winner, loser] = both.toSorted((a, b) => (a.status ?? 0) - (b.status ?? 0));
    expect(winner?.status, report).toBe(0);
    // 75: the other's candidate was there when it looked.
    expect([64, 69, 75], report).toContain(loser?.status);
    expect(traffic.wrong).toEqual([]);
    await isAllWell(drill, now);
  });

  it("leaves the old key alone as long as three of twenty servers can't take the new one", async () => {
    const { drill, now } = await vaultStore();
    const others = mkdtempSync(join(tmpdir(), "mcp-run-issuer-"));
    closings.push(() => rmSync(others, { recursive: true, force: true }));
    writeFileSync(join(others, "valid"), `${OLD}\n`);
    drill.profile("q", others);
    await drill.serve("p", SUPERVISORS - 3);
    await drill.serve("q", 3);

    const { result: stuck, traffic } = await drill.underLoad(() => drill.rotate(["--ack-timeout", "240s"]));

    expect(stuck, stuck.out).toMatchObject({ status: 75 });
    expect(stuck.out).toContain("17 acknowledged, 3 failed");
    expect(stuck.out).toContain("OLD KEY STILL VALID");
    expect(traffic.wrong).toEqual([]);
    expect(drill.valid).toContain(OLD);

    writeFileSync(join(others, "valid"), `${drill.valid.join("\n")}\n`);
    const again = await drill.underLoad(() => drill.resume(idIn(stuck)));
    expect(again.result, again.result.out).toMatchObject({ status: 0 });
    expect(again.traffic.wrong).toEqual([]);
    await isAllWell(drill, now);
  }, 600_000);

  it.each([
    ["Vault", vaultStore],
    ["AWS", motoStore],
  ])("can be undone as long as the old key is not revoked, in %s", async (_, store) => {
    const { drill, now } = await store();
    const others = mkdtempSync(join(tmpdir(), "mcp-run-issuer-"));
    closings.push(() => rmSync(others, { recursive: true, force: true }));
    writeFileSync(join(others, "valid"), `${OLD}\n`);
    drill.profile("q", others);
    await drill.serve("p", 2);
    await drill.serve("q", 1);
    const stuck = await drill.rotate(["--ack-timeout", "120s"]);
    expect(stuck, stuck.out).toMatchObject({ status: 75 });

    const { result: undone, traffic } = await drill.underLoad(
      () => drill.start(["p", "--rollback", idIn(stuck)]).ended,
    );

    expect(undone, undone.out).toMatchObject({ status: 0 });
    expect(undone.out).toContain("rolled-back");
    expect(traffic.wrong).toEqual([]);
    expect(await now()).toEqual(DOCUMENT);
    expect(drill.valid).toEqual([OLD]);
    for (const { key } of await drill.told()) expect(key).toBe(hash(OLD));
    expect(drill.placesWithValues()).toEqual([]);
    const { status, out } = await drill.rotate(["--missing-ok", hostname()]);
    expect(status, out).toBe(0);
    expect((await now()).key).not.toBe(OLD);
  });

  it("ends the old key before the new one serves with --revoke-first, and no request meets it", async () => {
    const { drill, now } = await vaultStore();
    await drill.serve("p", 2);

    const { result, traffic } = await drill.underLoad(() => drill.rotate(["--revoke-first"]));

    expect(result, result.out).toMatchObject({ status: 0 });
    expect(result.out.indexOf("✔ verify")).toBeLessThan(result.out.indexOf("✔ canary"));
    expect(result.out).toContain("✔ hold: 2 of 2 servers hold their requests");
    expect(result.out).toMatch(/other machines: nobody is asked to hold requests, .* has no fleet/);
    expect(result.out.indexOf("✔ hold")).toBeLessThan(result.out.indexOf("✔ revoke"));
    expect(traffic.wrong).toEqual([]);
    await isAllWell(drill, now);
  });

  it("ends the key of an earlier rotation by its name, where the hook may not see its value", async () => {
    const { drill, now } = await vaultStore();
    const first = await drill.rotate();
    expect(first.status, first.out).toBe(0);
    drill.profile("p", drill.issuer, "");

    const second = await drill.rotate();

    expect(second, second.out).toMatchObject({ status: 0 });
    await isAllWell(drill, now);
  });
});
