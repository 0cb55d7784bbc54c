/**
 * A real PostgreSQL on loopback, with a folder of its own and no password that is written down. It refuses to run as
 * root, so that root has it run as nobody.
 */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chownSync, mkdtempSync, realpathSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { programPath } from "./backends.ts";
import { freePort, prepared, ServerProcess, startedAtLast } from "./server-process.ts";

const NOBODY = 65_534;
const run = promisify(execFile);

export class PostgresServer {
  readonly #process: ServerProcess;
  readonly #password: string;
  readonly port: number;

  static start(): Promise<PostgresServer> {
    return startedAtLast(() => PostgresServer.#start());
  }

  static async #start(): Promise<PostgresServer> {
    const home = mkdtempSync(join(tmpdir(), "postgres-server-"));
    const identity = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
    const password = `canary-${randomUUID()}`;
    const passwordFile = join(home, "password");
    writeFileSync(passwordFile, password);
    if (identity.uid !== undefined) for (const path of [home, passwordFile]) chownSync(path, NOBODY, NOBODY);
    const data = join(home, "data");
    const setUp = ["-D", data, "-U", "admin", "--auth=scram-sha-256", "--pwfile", passwordFile, "--no-sync"];
    await run(programPath("initdb"), setUp, {
      ...identity,
      cwd: home,
      env: { PATH: process.env.PATH, LC_ALL: "C" },
    });
    const port = await freePort();
    const child = new ServerProcess({
      program: programPath("postgres"),
      args: [
        "-D",
        data,
        "-k",
        home,
        "-p",
        String(port),
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "fsync=off",
      ],
      home,
      ...identity,
    });
    const server = new PostgresServer(child, port, password);
    return prepared(server, () => child.untilReady(() => server.lets("admin", password)));
  }

  private constructor(child: ServerProcess, port: number, password: string) {
    this.#process = child;
    this.port = port;
    this.#password = password;
  }

  /** What Vault's database engine is told of it. */
  get vaultConfig(): object {
    return {
      plugin_name: "postgresql-database-plugin",
      allowed_roles: "*",
      connection_url: `postgresql://{{username}}:{{password}}@127.0.0.1:${this.port}/postgres?sslmode=disable`,
      username: "admin",
      password: this.#password,
    };
  }

  /** The program by which a server of a test logs in, PGPASSWORD in its environment, and its arguments. */
  loginOf(user: string): readonly [string, ...string[]] {
    // Not the one that Debian puts into the PATH, which looks for a cluster of its own first.
    const psql = join(dirname(realpathSync(programPath("initdb"))), "psql");
    return [
      psql,
      "-h",
      "127.0.0.1",
      "-p",
      String(this.port),
      "-U",
      user,
      "-d",
      "postgres",
      "-Atc",
      "select 1",
    ];
  }

  /** Whether this account may log in with this password. */
  async lets(user: string, password: string): Promise<boolean> {
    const [program, ...args] = this.loginOf(user);
    const env = { PATH: process.env.PATH, HOME: this.#process.home, PGPASSWORD: password };
    return run(program, args, { env }).then(
      () => true,
      () => false,
    );
  }

  /** As its administrator. */
  async query(sql: string): Promise<string> {
    const [program, ...args] = this.loginOf("admin");
    const env = { PATH: process.env.PATH, HOME: this.#process.home, PGPASSWORD: this.#password };
    return (await run(program, [...args.slice(0, -1), sql], { env })).stdout.trim();
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }
}
