/**
 * Which engine a path belongs to, and where its mount ends: asked once a mount. A token that may not ask (or a proxy
 * that lets only secrets through) makes us guess; then the first name is the mount, and reading shows its kind.
 */
import { ProviderError } from "../../src/errors.ts";
import { type Answer, isRecord } from "./exchange.ts";
import { type Asked, isAboutNamespace, refusalError, strangeAnswer } from "./failure.ts";
import { apiPath } from "./path.ts";
import type { Session } from "./session.ts";

export interface Mount {
  /** `kv-2`, `kv-1`, `other` for every engine that is not KV, `unknown` when the server would not say. */
  readonly kind: "kv-2" | "kv-1" | "other" | "unknown";
  /** With a slash at its end. */
  readonly path: string;
  /** The server's word for the engine, `database`; for messages. */
  readonly engine: string;
}

export class Mounts {
  readonly #session: Session;
  readonly #known = new Map<string, Mount>();

  constructor(session: Session) {
    this.#session = session;
  }

  /** The mount of a path. Throws ProviderError. */
  async of(path: string, signal: AbortSignal): Promise<Mount> {
    const mount = this.#find(path) ?? (await this.#ask(path, signal));
    if (mount instanceof ProviderError) throw mount;
    return mount;
  }

  /**
   * Asks for every mount of these paths that is not known yet, one request each. The answer has the paths whose mount
   * could not be had. Throws ProviderError where not even that could be asked.
   */
  async learn(paths: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, ProviderError>> {
    const failed = new Map<string, ProviderError>();
    const byFirstName = new Map<string, string[]>();
    for (const path of paths)
      byFirstName.set(firstName(path), [...(byFirstName.get(firstName(path)) ?? []), path]);
    await Promise.all(
      [...byFirstName.values()].map(async (neighbours) => {
        // One after the other: the answer for one path mostly answers for its neighbours.
        for (const [index, path] of neighbours.entries()) {
          const mount = this.#find(path) ?? (await this.#ask(path, signal));
          if (!(mount instanceof ProviderError)) continue;
          for (const left of neighbours.slice(index)) failed.set(left, mount);
          return;
        }
      }),
    );
    return failed;
  }

  /** What reading has shown of a mount that the server would not name. */
  correct(mount: Mount, kind: "kv-2" | "kv-1"): Mount {
    const known: Mount = { kind, path: mount.path, engine: "kv" };
    this.#known.set(mount.path, known);
    return known;
  }

  #find(path: string): Mount | undefined {
    // No mount lies below another one, so that one prefix fits at most.
    for (const mount of this.#known.values()) if (`${path}/`.startsWith(mount.path)) return mount;
    return undefined;
  }

  async #ask(path: string, signal: AbortSignal): Promise<Mount | ProviderError> {
    const asked = apiPath("sys/internal/ui/mounts", path);
    const answer = await this.#session.send({ does: "read", path: asked, isRepeatable: true }, signal);
    const mount = this.#mountIn(answer, path);
    if (!(mount instanceof ProviderError)) this.#known.set(mount.path, mount);
    return mount;
  }

  #mountIn(answer: Answer, path: string): Mount | ProviderError {
    const { status, json } = answer;
    const isUntold = (status === 403 || status === 404 || status === 405) && json !== undefined;
    if (isUntold && !isAboutNamespace(answer)) {
      return { kind: "unknown", path: `${firstName(path)}/`, engine: "unknown" };
    }
    if (status !== 200) {
      const asked: Asked = { path: `sys/internal/ui/mounts/${path}`, capability: "read" };
      return refusalError(answer, asked, this.#session.url);
    }
    const { path: at, type, options } = isRecord(json?.data) ? json.data : {};
    if (
      typeof at !== "string" ||
      typeof type !== "string" ||
      !/^[^/].*\/$/.test(at) ||
      !`${path}/`.startsWith(at)
    ) {
      return strangeAnswer(answer, this.#session.url);
    }
    const isVersioned = isRecord(options) && options.version === "2";
    const kind = type === "kv" || type === "generic" ? (isVersioned ? "kv-2" : "kv-1") : "other";
    // The server's own text: only what looks like an engine's name is repeated.
    return { kind, path: at, engine: /^[\w-]{1,40}$/.test(type) ? type : "other" };
  }
}

function firstName(path: string): string {
  return path.split("/", 1)[0] as string;
}
