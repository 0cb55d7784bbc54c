/** KV version 2 as the fake Vault keeps it: versions, check-and-set, soft deletion, destruction, custom metadata. */
import { type FakeAnswer, type FakeRequest, listing, success } from "./fake-vault.ts";

interface Version {
  data: Readonly<Record<string, unknown>> | null;
  readonly createdAt: string;
  deletedAt: string;
  isDestroyed: boolean;
}

interface Entry {
  readonly versions: Version[];
  custom: Readonly<Record<string, unknown>> | null;
}

const NOT_FOUND: FakeAnswer = { status: 404, body: { errors: [] } };
const DONE: FakeAnswer = { status: 204 };

export class FakeKv2 {
  readonly #entries = new Map<string, Entry>();
  casRequired = false;

  put(
    path: string,
    data: Readonly<Record<string, unknown>>,
    deletedAt = "",
    createdAt = new Date().toISOString(),
  ): void {
    const entry = this.#entries.get(path) ?? { versions: [], custom: null };
    entry.versions.push({ data, createdAt, deletedAt, isDestroyed: false });
    this.#entries.set(path, entry);
  }

  /** Soft, as `vault kv delete` does it. */
  delete(path: string): void {
    const last = this.#entries.get(path)?.versions.at(-1);
    if (last) last.deletedAt = new Date().toISOString();
  }

  /** All of it, as `vault kv metadata delete` does it. */
  forget(path: string): void {
    this.#entries.delete(path);
  }

  custom(path: string): Entry["custom"] | undefined {
    return this.#entries.get(path)?.custom;
  }

  /** Everything that is kept, as text. */
  get everything(): string {
    return JSON.stringify([...this.#entries]);
  }

  /** @param path behind the mount */
  answer(request: FakeRequest, path: string): FakeAnswer {
    const [kind = "", ...rest] = path.split("/");
    const name = rest.join("/");
    const { method, body, query } = request;
    if (kind === "metadata" && method === "LIST") return listing([...this.#entries.keys()], name);
    if (kind === "data" && method === "POST") return this.#write(name, body);
    const entry = this.#entries.get(name);
    if (kind === "metadata" && method === "POST") {
      const known = entry ?? { versions: [], custom: null };
      known.custom = (body.custom_metadata as Entry["custom"]) ?? known.custom;
      this.#entries.set(name, known);
      return DONE;
    }
    if (kind === "metadata" && method === "DELETE") {
      this.forget(name);
      return DONE;
    }
    if (!entry) return NOT_FOUND;
    if (kind === "metadata") return success(metadataOf(entry));
    if (kind === "data") return read(entry, query.get("version"));
    if (kind === "destroy") {
      for (const number of body.versions as number[]) {
        const version = entry.versions[number - 1];
        if (version) Object.assign(version, { data: null, isDestroyed: true });
      }
      return DONE;
    }
    return { status: 404, body: { errors: ["no handler for route"] } };
  }

  #write(name: string, body: FakeRequest["body"]): FakeAnswer {
    const current = this.#entries.get(name)?.versions.length ?? 0;
    const { cas } = (body.options ?? {}) as { cas?: number };
    if (cas === undefined && this.casRequired) {
      return { status: 400, body: { errors: ["check-and-set parameter required for this call"] } };
    }
    if (cas !== undefined && cas !== current) {
      return { status: 400, body: { errors: ["check-and-set parameter did not match the current version"] } };
    }
    this.put(name, body.data as Readonly<Record<string, unknown>>);
    return success({ version: current + 1 });
  }
}

function read({ versions, custom }: Entry, asked: string | null): FakeAnswer {
  const number = asked === null ? versions.length : Number(asked);
  const version = versions[number - 1];
  if (!version) return NOT_FOUND;
  const isGone =
    version.isDestroyed || (version.deletedAt !== "" && Date.parse(version.deletedAt) <= Date.now());
  const metadata = {
    version: number,
    created_time: version.createdAt,
    deletion_time: version.deletedAt,
    destroyed: version.isDestroyed,
    custom_metadata: custom,
  };
  return { ...success({ data: isGone ? null : version.data, metadata }), status: isGone ? 404 : 200 };
}

function metadataOf({ versions, custom }: Entry): object {
  const states = versions.map(({ createdAt, deletedAt, isDestroyed }, index) => [
    index + 1,
    { created_time: createdAt, deletion_time: deletedAt, destroyed: isDestroyed },
  ]);
  return { current_version: versions.length, custom_metadata: custom, versions: Object.fromEntries(states) };
}
