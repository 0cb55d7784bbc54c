/** The answers of KV version 2, told apart: a version's data, its deletion, and what is known of all versions. */
import { ProviderError } from "../../src/errors.ts";
import { type Answer, isRecord } from "./exchange.ts";

/** What a read of `data/PATH` has found. */
export type Version =
  | {
      readonly type: "live";
      readonly number: number;
      readonly data: Readonly<Record<string, unknown>>;
      readonly createdAt: Date | undefined;
      /** When the server deletes it by itself (`delete_version_after`). */
      readonly expiresAt: Date | undefined;
    }
  | {
      readonly type: "gone";
      readonly number: number;
      readonly deletedAt: string;
      readonly isDestroyed: boolean;
    };

/** Undefined for an answer of another form. */
export function versionIn({ json }: Answer): Version | undefined {
  if (!isRecord(json?.data) || !isRecord(json.data.metadata)) return undefined;
  const { data, metadata } = json.data;
  const { version: number, created_time, deletion_time, destroyed } = metadata;
  if (typeof number !== "number") return undefined;
  const deletedAt = dateIn(deletion_time);
  if (isRecord(data))
    return { type: "live", number, data, createdAt: dateIn(created_time), expiresAt: deletedAt };
  return { type: "gone", number, deletedAt: deletedAt?.toISOString() ?? "", isDestroyed: destroyed === true };
}

export interface VersionState {
  readonly isLive: boolean;
  readonly isDestroyed: boolean;
  readonly createdAt: Date | undefined;
}

/** What `metadata/PATH` says. */
export interface Metadata {
  /** 0 if none was ever written. */
  readonly current: number;
  /** False if the current version was deleted or destroyed. */
  readonly isCurrentLive: boolean;
  readonly versions: ReadonlyMap<number, VersionState>;
  readonly custom: Readonly<Record<string, unknown>>;
}

/** Undefined for an answer of another form. */
export function metadataIn({ json }: Answer, now: number): Metadata | undefined {
  if (!isRecord(json?.data) || typeof json.data.current_version !== "number") return undefined;
  const { current_version: current, versions: listed, custom_metadata: custom } = json.data;
  const versions = new Map(
    Object.entries(isRecord(listed) ? listed : {}).flatMap(([number, state]) => {
      if (!isRecord(state)) return [];
      const isDestroyed = state.destroyed === true;
      const deletedAt = dateIn(state.deletion_time)?.getTime() ?? Number.POSITIVE_INFINITY;
      const createdAt = dateIn(state.created_time);
      return [[Number(number), { isLive: !isDestroyed && deletedAt > now, isDestroyed, createdAt }] as const];
    }),
  );
  return {
    current,
    isCurrentLive: versions.get(current)?.isLive ?? false,
    versions,
    custom: isRecord(custom) ? custom : {},
  };
}

export function goneError(version: Version & { type: "gone" }, path: string, mount: string): ProviderError {
  const { number, deletedAt, isDestroyed } = version;
  if (isDestroyed) {
    return new ProviderError("missing", `version ${number} of it was destroyed for good (404)`, {
      hint: `another version, or a new value: \`vault kv put -mount=${mount} ${path} …\``,
    });
  }
  return new ProviderError(
    "missing",
    `version ${number} of it was deleted${deletedAt && ` at ${deletedAt}`} (404)`,
    {
      hint: `\`vault kv undelete -mount=${mount} -versions=${number} ${path}\`, or a new value`,
    },
  );
}

function dateIn(text: unknown): Date | undefined {
  const date = new Date(typeof text === "string" && text !== "" ? text : Number.NaN);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
