/** stdout belongs to the server, and the NATS client has words of its own: the built program leaves them out. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const CHUNKS = join(import.meta.dirname, "../../../dist/chunks");

describe("the client of the bus", () => {
  it("can't print in the built program, and is loaded only where there is a fleet", () => {
    const chunks = readdirSync(CHUNKS).map((file) => ({
      file,
      text: readFileSync(join(CHUNKS, file), "utf8"),
    }));
    const client = chunks.filter(({ text }) => text.includes("nats.js"));

    expect(client.map(({ file }) => file)).toHaveLength(1);
    expect(client.filter(({ text }) => /console\.\w+\(/.test(text))).toEqual([]);
    expect(client.filter(({ file }) => /^(cli|start|local)-/.test(file))).toEqual([]);
  });
});
