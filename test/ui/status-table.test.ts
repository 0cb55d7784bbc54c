/** What a person reads of the running servers. */

import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { shortDuration } from "../../src/ui/durations.ts";
import { LiveScreen } from "../../src/ui/live-screen.ts";
import { statusText, unfinishedText } from "../../src/ui/status-table.ts";
import { statusOf } from "../control/status.ts";

const NOW = Date.parse("2027-01-15T12:00:00.000Z");

describe("a duration", () => {
  it.each([
    [-5, "0s"],
    [999, "0s"],
    [59_999, "59s"],
    [60_000, "1m"],
    [9 * 60_000 + 5_000, "9m 5s"],
    [10 * 60_000 + 5_000, "10m"],
    [2 * 3_600_000 + 5 * 60_000, "2h 5m"],
    [86_400_000, "1d"],
    [36 * 3_600_000, "1d 12h"],
    [400 * 86_400_000, "400d"],
  ])("of %i ms is %s", (ms, text) => {
    expect(shortDuration(ms)).toBe(text);
  });
});

describe("what stands below the table of a rotation", () => {
  it("is how to go on with it, unless somebody is at it", () => {
    const rotation = {
      rotation: "20261121-093015-k3x9ab",
      profile: "github",
      resume: "mcp-run rotate github --config /etc/x.yaml --resume 20261121-093015-k3x9ab",
      startedAt: "2026-11-21T09:30:15.000Z",
      operator: "ann@ops",
      reason: "leaked",
    };
    const now = Date.parse("2026-11-21T09:35:15.000Z");
    const [cutOff, live] = [false, true].map((isRunning) =>
      unfinishedText([{ ...rotation, isRunning }], now),
    );

    expect(cutOff).toMatch(
      /begun 5m ago, has not ended \(leaked\): mcp-run rotate github --config \/etc\/x.yaml --resume 20261121-093015-k3x9ab\n$/,
    );
    expect(live).toMatch(/is under way \(leaked\): 20261121-093015-k3x9ab\n$/);
  });
});

describe("the table of running servers", () => {
  it("names the profile that was asked for, if nothing of it runs", () => {
    expect(statusText([], [], NOW, "github")).toBe("Nothing of github is running.\n");
    expect(statusText([], [], NOW, "github", true)).toBe("Nothing of github is running on this machine.\n");
  });

  it("has a line for each secret, and the server in the first of them", () => {
    const secret = { provider: "vault", fetchedAt: "2027-01-15T11:00:00.000Z" };
    const text = statusText(
      [
        statusOf(4711, {
          profile: "github",
          client: { name: "claude-ai", version: "1.0" },
          generation: 3,
          uptimeMs: 7_500_000,
          restarts: 2,
          refresh: { mode: "overlap", isLooking: false, nextAt: "2027-01-15T12:04:00.000Z" },
          secrets: [
            { ...secret, name: "TOKEN", ref: "vault:a", version: "7", createdAt: "2027-01-03T12:00:00.000Z" },
            {
              ...secret,
              name: "DSN",
              ref: "vault:b#dsn",
              maxAgeMs: 7_776_000_000,
              version: "EXAMPLE1-90ab-cdef-fedc-ba987EXAMPLE",
            },
          ],
        }),
        statusOf(5, { refresh: { mode: "never", isLooking: true } }),
        statusOf(6, { refresh: { mode: "overlap", isLooking: true }, state: "swapping" }),
      ],
      [],
      NOW,
    );

    expect(text).toBe(
      [
        "PROFILE  PID   CLIENT     STATE     GEN  UP     RESTARTS  NEXT LOOK  SECRET  VERSION           AGE         REF",
        "github   4711  claude-ai  serving   3    2h 5m  2         in 4m      TOKEN   7                 12d         vault:a",
        "                                                                     DSN     EXAMPLE1-90ab-c…  1h+ of 90d  vault:b#dsn",
        "p        5     -          looking   1    1s     0         -",
        "p        6     -          swapping  1    1s     0         -",
        "",
      ].join("\n"),
    );
  });

  it("says below what somebody should know", () => {
    const failure = { at: "2027-01-15T11:59:48.000Z", reason: "vault: no answer" };
    const text = statusText(
      [
        statusOf(1, {
          refresh: { mode: "overlap", isLooking: false, lastFailure: failure },
          leaks: 1,
          scrubbed: 3,
          secretsLeftOut: 2,
        }),
        statusOf(2, {
          refresh: {
            mode: "overlap",
            isLooking: false,
            lastFailure: failure,
            lastLookAt: "2027-01-15T11:59:49.000Z",
          },
          secrets: [
            {
              name: "T",
              ref: "vault:t",
              provider: "vault",
              fetchedAt: "2027-01-15T11:59:00.000Z",
              cachedSince: "2027-01-15T09:00:00.000Z",
            },
          ],
        }),
      ],
      [{ pid: 3, reason: "no answer within 2 s" }],
      NOW,
    );

    expect(text.split("\n\n")[1]).toBe(
      [
        "p (1): the last look failed 12s ago: vault: no answer",
        "p (1): the server told the client a secret in 1 message",
        "p (1): 3 secrets masked on stderr",
        "p (1): 2 more secrets",
        "p (2): T comes from the cache, fetched 3h ago",
        "3 does not answer: no answer within 2 s",
        "",
      ].join("\n"),
    );
  });

  it("says below for what new requests wait, and how long at most", () => {
    const holding = {
      rotation: "20270115-115950-abcdef",
      since: "2027-01-15T11:59:50.000Z",
      until: "2027-01-15T12:00:35.000Z",
    };

    const text = statusText([statusOf(1, { holding })], [], NOW);

    expect(text.split("\n\n")[1]).toBe(
      "p (1): new requests wait for the end of rotation 20270115-115950-abcdef, for 35s at most\n",
    );
  });

  it("marks what is older than the profile allows", () => {
    const secret = {
      ref: "a:b",
      provider: "a",
      fetchedAt: "2027-01-15T10:00:00.000Z",
      maxAgeMs: 90 * 86_400_000,
    };
    const text = statusText(
      [
        statusOf(1, {
          secrets: [
            { ...secret, name: "OLD", createdAt: "2026-10-15T12:00:00.000Z" },
            { ...secret, name: "JUST", createdAt: "2026-10-17T12:00:00.000Z" },
            { ...secret, name: "SEEN", maxAgeMs: 3_600_000 },
            { ...secret, name: "FREE", fetchedAt: "2020-01-15T10:00:00.000Z", maxAgeMs: undefined },
          ],
        }),
      ],
      [],
      NOW,
    );

    const ages = Object.fromEntries(
      ["OLD", "JUST", "SEEN", "FREE"].map((name) => [
        name,
        text
          .split("\n")
          .find((line) => line.includes(` ${name} `))
          ?.replace(/^.* - {8}/, ""),
      ]),
    );
    expect(ages).toMatchObject({
      OLD: "92d of 90d !  a:b",
      JUST: "90d of 90d    a:b",
      SEEN: "2h+ of 1h !   a:b",
    });
    expect(ages.FREE).toMatch(/^\d+d\+ +a:b$/);
    expect(text).toContain(
      "p (1): OLD is older than its maxAge of 90d\np (1): SEEN is older than its maxAge of 1h\n",
    );
  });

  it("does not let anybody steer the terminal", () => {
    const text = statusText(
      [statusOf(1, { client: { name: "\u001b[2J\nfake" }, profile: "p\u0007" })],
      [{ pid: 2, reason: "\u001b]0;x" }],
      NOW,
    );
    expect(text).toContain("p\\u0007");
    expect(text).toContain("\\e[2J\\nfake");
    for (const control of ["\u001b", "\u0007"]) expect(text).not.toContain(control);
  });

  it("bears with times that are none", () => {
    const secret = { name: "T", ref: "a:b", provider: "a", fetchedAt: "soon", createdAt: "then" };
    expect(statusText([statusOf(1, { secrets: [secret] })], [], NOW)).toMatch(/T {7}- {8}0s {3}a:b\n$/);
  });
});

describe("a live screen", () => {
  it("shows what fits, and how much does not", () => {
    const terminal = Object.assign(new PassThrough(), { columns: 4, rows: 3 });
    const screen = new LiveScreen(terminal);
    screen.draw("one\ntwo two\nthree\nfour\n");
    screen.close();

    expect(String(terminal.read())).toBe(
      "\u001b[?1049h\u001b[?25l\u001b[Hone\u001b[K\r\ntwo \u001b[K\r\n… 2 \u001b[K\u001b[J\u001b[?25h\u001b[?1049l",
    );
  });
});
