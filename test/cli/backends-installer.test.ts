/** `.ci/install-backends` on machines that lack something: it says what it leaves out, and goes on. */
import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ROOT } from "../helpers/installation.ts";

const TOOLS = [
  "bash",
  "env",
  "mkdir",
  "chmod",
  "readlink",
  "ln",
  "mktemp",
  "rm",
  "mv",
  "cut",
  "grep",
  "tail",
  "id",
  "dirname",
];
/** What the pauses between two tries are made by. */
const NO_PAUSE = { sleep: "exit 0" };

let folder = "";

/** Runs the script with nothing in its PATH but plain tools and these programs, which are shell scripts. */
function install(parts: readonly string[], programs: Readonly<Record<string, string>>, env = {}) {
  const bin = join(folder, "bin");
  mkdirSync(bin, { recursive: true });
  // A program that takes the place of a tool is not written through a link to the real one.
  const given = { ...NO_PAUSE, ...programs };
  for (const tool of TOOLS.filter((name) => !Object.hasOwn(given, name))) {
    const found = spawnSync("/bin/sh", ["-c", `command -v ${tool}`], { encoding: "utf8" }).stdout.trim();
    symlinkSync(found, join(bin, tool));
  }
  for (const [name, script] of Object.entries(given)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  const ran = spawnSync(join(bin, "bash"), [join(ROOT, ".ci/install-backends"), ...parts], {
    encoding: "utf8",
    env: { PATH: bin, HOME: folder, MCP_RUN_BACKENDS_CACHE: join(folder, "cache"), ...env },
  });
  rmSync(bin, { recursive: true });
  return ran;
}

const cached = () => readdirSync(join(folder, "cache")).filter((name) => name !== ".lock");

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mcp-run-installer-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe.skipIf(process.platform === "win32")("the installer of the real backends", () => {
  it("says what it leaves out and why where there is neither Go, nor Python, nor Java, nor Debian", () => {
    const ran = install([], {});

    expect(ran.stderr).toMatch(/left out vault: needs Go/);
    expect(ran.stderr).toMatch(/left out moto: needs Python/);
    expect(ran.stderr).toMatch(/left out lowkey-vault: needs Java/);
    expect(ran.stderr).toMatch(/left out k8s-decode: needs Go/);
    expect(ran.stderr).toMatch(/left out .*gnome-keyring.*: this is no Debian/);
    expect(ran.status).toBe(0);
    expect(cached()).toEqual([]);
  });

  it("asks nobody for a password where it is not root", () => {
    const ran = install(["debian"], { "apt-get": "exit 0", id: "echo 1000", sudo: "exit 1" });

    expect(ran.stderr).toMatch(/left out .*: needs root: sudo apt-get install/);
    expect(ran.status).toBe(0);
  });

  it("installs what a release of Debian has, and names what it has not", () => {
    const apt = `case "$*" in *gnome-keyring) echo "Unable to locate it" >&2; exit 100 ;; esac; echo "$@" >>"${folder}/apt"`;
    // Nothing of this machine is touched, whatever is missing here.
    const silent = { install: "exit 0", systemctl: "exit 0", sh: "exit 0" };
    const ran = install(["debian"], { "apt-get": apt, id: "echo 0", ...silent });

    const complaint = "Unable to locate it\n";
    const end = "mcp-run tests: left out gnome-keyring: apt-get failed\n";
    expect(ran.stderr).toBe(`${complaint.repeat(3)}${end}`);
    expect(ran.status).toBe(0);
    const asked = readFileSync(join(folder, "apt"), "utf8").trimEnd().split("\n");
    expect(asked[0]).toMatch(/^update -qq /);
    expect(asked.filter((line) => line.endsWith(" dbus"))).toHaveLength(1);
    expect(asked.filter((line) => line.endsWith(" libsecret-tools"))).toHaveLength(1);
  });

  it("leaves nothing usable behind when a build fails, and shows its last words", () => {
    const ran = install(["vault"], { go: 'echo "no such module" >&2; exit 1' });

    expect(ran.stderr).toMatch(/no such module\nmcp-run tests: left out vault: its build failed/);
    expect(cached()).toEqual([]);
  });

  it("links a server only once it is whole, and does nothing when it is there", () => {
    const go = 'while [ "$1" != -o ]; do shift; done; echo built >&2; echo "#!/bin/sh" >"$2"; chmod +x "$2"';
    const first = install(["vault"], { go });
    const second = install(["vault"], { go: "exit 1" });

    expect([first.status, second.status]).toEqual([0, 0]);
    expect(second.stderr).toBe("");
    expect(cached()).toEqual([expect.stringMatching(/^vault$/), expect.stringMatching(/^vault-/)]);
    expect(readlinkSync(join(folder, "cache/vault"))).toMatch(/^vault-[\d.]+$/);
  });

  it("makes an environment anew that was left half-made", () => {
    const python3 = 'mkdir -p "$3/bin"; echo "#!/bin/sh" >"$3/bin/pip"';
    const half = install(["moto"], { python3 });

    expect(half.stderr).toMatch(/left out moto: pip could not install it/);
    expect(cached()).toEqual([expect.stringMatching(/^moto-/)]);

    const script = 'printf \'#!/bin/sh\\n\' >"$3/bin/$p"; chmod +x "$3/bin/$p"';
    const whole = install(["moto"], {
      python3: `[ -e "$3" ] && exit 1; mkdir -p "$3/bin"; for p in pip moto_server; do ${script}; done`,
    });

    expect(whole.stderr).toBe("");
    expect(readlinkSync(join(folder, "cache/moto_server"))).toMatch(/^moto-[\d.]+\/bin\/moto_server$/);
  });

  it("makes an environment anew that is there and does not run", () => {
    const script = 'printf "#!/bin/sh\\n$2\\n" >"$3/bin/$p"; chmod +x "$3/bin/$p"';
    const make = (end: string) =>
      `mkdir -p "$3/bin"; for p in pip moto_server; do ${script.replace("$2", end)}; done`;
    install(["moto"], { python3: make("") });
    const file = join(folder, "cache/moto_server");
    writeFileSync(file, "#!/nowhere/python\n");

    const again = install(["moto"], { python3: make("# anew") });

    expect(again.status).toBe(0);
    expect(readFileSync(file, "utf8")).toContain("# anew");
  });

  it("leaves alone what the caller has a server of their own for", () => {
    const ran = install(
      ["vault", "moto", "lowkey-vault"],
      {},
      {
        MCP_RUN_TEST_VAULT: "/opt/bao",
        MCP_RUN_TEST_MOTO: "/opt/moto",
        MCP_RUN_TEST_LOWKEY_VAULT: "/opt/lowkey.jar",
      },
    );

    expect([ran.status, ran.stderr]).toEqual([0, ""]);
  });

  it("says that the registry has no lowkey-vault", () => {
    const mvn = 'echo "[ERROR] Could not find artifact com.github.nagyesta"; exit 1';
    const ran = install(["lowkey-vault"], { java: "echo openjdk 25.0.3", mvn });

    expect(ran.stderr).toMatch(/left out lowkey-vault-app [\d.]+: the Maven registry does not have it/);
    expect(cached()).toEqual([]);
  });

  it("knows no other backend", () => {
    expect(install(["oracle"], {}).status).toBe(64);
  });
});
