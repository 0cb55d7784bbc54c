/**
 * Which engine a path belongs to, and where its mount ends: asked once a mount. A token that may not ask (or a proxy
 * that lets only secrets through) makes us guess; then the first name is the mount, and reading shows its kind.
 */
import { type Answer, isRecord } from "./exchange.ts";
import { refusalError, strangeAnswer } from "./failure.ts";
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
    return this.#find(path) ?? this.#ask(path, signal);
  }

  /** Asks for every mount of these paths that is not known yet, one request each. Throws ProviderError. */
  async learn(paths: readonly string[], signal: AbortSignal): Promise<void> {
    const firstNames = new Set(paths.map(firstName));
    await Promise.all(
      [...firstNames].map(async (name) => {
        // One after the other: the answer for one path mostly answers for its neighbours.
        for (const path of paths) if (firstName(path) === name) await this.of(path, signal);
      }),
    );
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

  async #ask(path: string, signal: AbortSignal): Promise<Mount> {
    const asked = apiPath("sys/internal/ui/mounts", path);
    const answer = await this.#session.send({ does: "read", path: asked, isRepeatable: true }, signal);
    const mount = this.#mountIn(answer, path, asked);
    this.#known.set(mount.path, mount);
    return mount;
  }

  #mountIn(answer: Answer, path: string, asked: string): Mount {
    const { status, json } = answer;
    const isUntold = (status === 403 || status === 404 || status === 405) && json !== undefined;
    if (isUntold) return { kind: "unknown", path: `${firstName(path)}/`, engine: "unknown" };
    if (status !== 200) throw refusalError(answer, { path: asked, capability: "read" }, this.#session.url);
    const data = isRecord(json?.data) ? json.data : {};
    const { path: at, type, options } = data;
    if (
      typeof at !== "string" ||
      typeof type !== "string" ||
      !/^[^/].*\/$/.test(at) ||
      !`${path}/`.startsWith(at)
    ) {
      throw strangeAnswer(answer, this.#session.url);
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
