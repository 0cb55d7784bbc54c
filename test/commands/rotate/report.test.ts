/** Where a report may be written, asked before a rotation begins. */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { mustHaveRoom } from "../../../src/commands/rotate/report.ts";

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "mcp-run-report-"));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

describe.skipIf(process.platform === "win32")("a report", () => {
  it("takes nobody else's place, be it a file or a link", async () => {
    const cwd = folder();
    const uid = process.getuid?.() ?? 0;
    writeFileSync(join(cwd, "theirs.md"), "");
    symlinkSync("nowhere", join(cwd, "link.md"));

    for (const file of ["theirs.md", "link.md"]) {
      await expect(mustHaveRoom({ cwd, uid: uid + 1 }, file)).rejects.toMatchObject({
        code: "usage",
        message: `Cannot write the report to ${join(cwd, file)}: it belongs to somebody else`,
      });
      await mustHaveRoom({ cwd, uid }, file);
    }
  });

  it("may go to a stream, in whatever folder that is", async () => {
    await mustHaveRoom({ cwd: folder(), uid: 1 }, "/dev/null");
  });
});
