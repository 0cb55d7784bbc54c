/**
 * The contract between mcp-run and a backend. The least a backend must do is `fetch` and `close`;
 * everything else is an interface of its own that a backend takes on when it can keep its promise.
 */
import type { ZodMiniType } from "zod/mini";
import type { Clock } from "../clock.ts";
import { ProviderError } from "../errors.ts";
import type { Emit } from "../events.ts";
import type { Paths } from "../paths.ts";
import type { ProgramRunner } from "./program.ts";
import type { Secret } from "./secret.ts";

export interface FetchedSecret {
  readonly value: Secret;
  /** The backend's own name for this version of the value. */
  readonly version?: string;
  /**
   * Where the document lies, in the backend's own words (an ARN, an address with the path): the same for everybody
   * who asks for it, however their profiles call the backend. Never a credential; at most 1,024 characters.
   */
  readonly place?: string;
  readonly createdAt?: Date;
  readonly expiresAt?: Date;
  /** A value that lives only as long as its lease; every ref to the same document has the same lease object. */
  readonly lease?: Lease;
  /** True for a token that belongs to one login: never kept by `cache:` of a profile. A lease never is either. */
  readonly isEphemeral?: boolean;
}

/** The backend's promise to keep a value alive; whoever fetched it renews it and, in the end, revokes it. */
export interface Lease {
  /** The backend's name for it, where it has one: no secret, and all the same nothing that a printed lease shows. */
  id?(): string;
  readonly term: LeaseTerm;
  /** Asks for more time and answers what there is now, which may be less than before. Throws ProviderError. */
  renew(signal: AbortSignal): Promise<LeaseTerm>;
  /** Ends it; resolves when the backend has done so, not when it has noted it. Throws ProviderError. */
  revoke(signal: AbortSignal): Promise<void>;
}

export interface LeaseTerm {
  /** Ms from now, or from the renewal. */
  readonly durationMs: number;
  readonly renewable: boolean;
}

export interface Provider<Ref> {
  /**
   * Fetches every ref, batched where the backend can. The answer has exactly one entry for each ref
   * (the same object): the secret, or why it could not be had. Rejects only when `signal` is aborted or
   * when no ref at all could be tried (then with a ProviderError).
   */
  fetch(refs: readonly Ref[], signal: AbortSignal): Promise<ReadonlyMap<Ref, FetchedSecret | ProviderError>>;
  /**
   * The live version; undefined where there is no such secret. Names exactly what `fetch` would name. A backend
   * without versions has no such method. Throws ProviderError.
   */
  currentVersion?(ref: Ref, signal: AbortSignal): Promise<string | undefined>;
  /**
   * The same, if it costs the backend less than `fetch` of all that a profile wants of it; else there is no such
   * method. A refresh asks it first. Throws ProviderError: `denied` where the right to the value is not enough.
   *
   * @param before what is compared: undefined also if another version bears its name now
   */
  peekVersion?(ref: Ref, signal: AbortSignal, before?: FetchedSecret): Promise<string | undefined>;
  /** Ends leases and logins of its own (best effort) and closes sockets. Never rejects; may be called twice. */
  close(): Promise<void>;
}

export interface StoredEntry {
  /** The path part of a ref; `mcp-run secrets list` shows it behind `PROVIDER:`. */
  readonly path: string;
  readonly version?: string;
  readonly updatedAt?: Date;
}

/** A provider whose entries a person may write with `mcp-run secrets set|list|rm|generate`. */
export interface SecretStore<Ref> extends Provider<Ref> {
  /**
   * Writes a new current version and returns its name. Throws ProviderError; the old version is then intact.
   *
   * @param onlyIf writes only if this is the current version (undefined: only if there is none), else throws
   *   ProviderError `conflict`; a backend that can't compare and set in one step looks before and after
   */
  put(
    ref: Ref,
    value: Secret,
    signal: AbortSignal,
    onlyIf?: { readonly version: string | undefined },
  ): Promise<{ readonly version?: string }>;
  /** False if there was nothing to remove. Throws ProviderError. */
  remove(ref: Ref, signal: AbortSignal): Promise<boolean>;
  /** Entries that mcp-run can name; a backend that can't be listed throws ProviderError `invalid`. */
  list(signal: AbortSignal): Promise<readonly StoredEntry[]>;
}

/**
 * A store in which a key can be replaced in steps that can each be taken back: the writable side of an emergency
 * rotation. A candidate lies beside its secret, where no `fetch` of the ref sees it; it is also the lock, since
 * there is at most one. Every method throws ProviderError; one that somebody else was faster at, `conflict`.
 */
export interface RotatableStore<Ref> extends SecretStore<Ref> {
  currentVersion(ref: Ref, signal: AbortSignal): Promise<string | undefined>;
  /**
   * Before anything is made: throws `denied` where it is certain that a candidate could not be put or promoted with the
   * rights that there are. Writes nothing.
   */
  mustBeWritable?(ref: Ref, signal: AbortSignal): Promise<void>;
  /** The candidate beside the secret, whoever put it; undefined if there is none. */
  findCandidate(ref: Ref, signal: AbortSignal): Promise<Candidate | undefined>;
  /** Puts a candidate, created only if there is none. The same rotation may put the same value again. */
  putCandidate(ref: Ref, value: Secret, mark: CandidateMark, signal: AbortSignal): Promise<Candidate>;
  /** The value of this rotation's candidate; `missing` if there is none, `conflict` if it is another's. */
  fetchCandidate(ref: Ref, rotationId: string, signal: AbortSignal): Promise<FetchedSecret>;
  /**
   * Makes the candidate the current version and takes it away, if the current version is still `planned`
   * (undefined: there was none). Once more after a crash half-way: does what is left. Returns the new current version.
   */
  promote(
    ref: Ref,
    rotationId: string,
    planned: string | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }>;
  /** Takes this rotation's candidate away, its value included; false if there is none. */
  discard(ref: Ref, rotationId: string, signal: AbortSignal): Promise<boolean>;
  /** Makes the value of an earlier version current again, if the current version is `planned`. Returns its new name. */
  restore(
    ref: Ref,
    version: string,
    planned: string,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }>;
  /** Nobody gets this version any more, by whatever name; never the current one. False if it was already so. */
  retire(ref: Ref, version: string, signal: AbortSignal): Promise<boolean>;
  /**
   * Takes the current version away, if it is this one, where there was none before it was promoted. Needed only where
   * `remove` would take along what was deleted earlier and can still be brought back. False if there was nothing.
   */
  takeAway?(ref: Ref, version: string, signal: AbortSignal): Promise<boolean>;
}

/** A backend that replaces some of its keys by itself. Every method throws ProviderError. */
export interface SelfRotating<Ref> extends Provider<Ref> {
  /** How it does that for this one; `invalid`, with a mend, where it does not. Changes nothing. */
  ownRotation(ref: Ref, signal: AbortSignal): Promise<OwnRotation>;
}

export type OwnRotation = LiveRotation | LeasedKeys;

/** The live key is replaced in its place: from one moment to the next everybody who asks gets the new one. */
export interface LiveRotation {
  readonly mode: "aws-rotation" | "vault-static-role";
  /** What is current now, always with its version. */
  read(signal: AbortSignal): Promise<FetchedSecret>;
  /** Refuses while somebody else is at it, so that it is known before anything is planned. */
  mayBegin?(signal: AbortSignal): Promise<void>;
  /**
   * Has the current version replaced if it is still `planned`, once for each rotation: whoever asks again after a
   * crash gets what has come of it. Resolves when the new one is current. Anything but `unavailable` says that
   * nothing was changed.
   */
  rotate(rotationId: string, planned: string, signal: AbortSignal): Promise<{ readonly version: string }>;
  /** Nobody gets this version any more; false if it was already so. */
  retire?(version: string, signal: AbortSignal): Promise<boolean>;
}

/** Everybody who asks gets a key of their own, which lives as long as its lease. */
export interface LeasedKeys {
  readonly mode: "vault-lease";
  /** See FetchedSecret. */
  readonly place?: string | undefined;
  /** The ids of all leases that are alive, whoever has them. */
  list(signal: AbortSignal): Promise<readonly string[]>;
  /** Ends one; resolves when that is done. One that has ended already is no failure. */
  revoke(id: string, signal: AbortSignal): Promise<void>;
}

/** Whose candidate it is. Names only: it is kept beside the secret, where others may read it. */
export interface CandidateMark {
  readonly rotationId: string;
  /** Who runs the rotation, as `user@host`. */
  readonly operator: string;
  readonly createdAt: Date;
}

export interface Candidate extends CandidateMark {
  /** The backend's own name for the candidate, where it has one before it is promoted. */
  readonly version?: string;
}

/** A store that is encrypted to a pinned set of public keys, so that a team or CI can share the file. */
export interface RecipientStore {
  recipients(): Promise<readonly Recipient[]>;
  /** Pins one more public key and re-encrypts. Throws ProviderError. */
  addRecipient(publicKey: string, label: string | undefined, signal: AbortSignal): Promise<void>;
  /** Unpins by public key or label and re-encrypts; false if it was not pinned. Throws ProviderError. */
  removeRecipient(publicKeyOrLabel: string, signal: AbortSignal): Promise<boolean>;
  /**
   * Replaces our own identity and re-encrypts everything. Whoever could read the store before may have kept
   * a copy, so the answer names every entry whose value must be rotated at its issuer.
   */
  rekey(signal: AbortSignal): Promise<{ readonly mustRotate: readonly string[] }>;
}

export interface Recipient {
  readonly publicKey: string;
  readonly label?: string;
  /** True for the key of this machine's own identity. */
  readonly own: boolean;
}

/** The parts of mcp-run that a provider may use. It takes nothing from the process itself. */
export interface ProviderContext {
  /** The entry's name in the profile file, which is also the word before the colon in its refs. */
  readonly name: string;
  readonly env: EnvironmentReader;
  readonly paths: Paths;
  readonly platform: NodeJS.Platform;
  /** The user id, undefined on Windows. */
  readonly uid: number | undefined;
  /** Asks the system at each call; throws where the account has no name. */
  readonly loginName: () => string;
  /** The argv that starts mcp-run's own keychain helper program (providers/keychain/helper.ts). */
  readonly keychainHelper: readonly [string, ...string[]];
  readonly clock: Clock;
  readonly emit: Emit;
  /** Runs a program without a shell; the only way for a provider to start one. */
  readonly runProgram: ProgramRunner;
  /**
   * Says in `open` what the credential is, apart from `env.get` and `resolveRef`, which say it themselves: a token
   * file's content, a path and its time of change. Kept only as a keyed hash: a backend that has refused one
   * credential again and again is left alone until there is another.
   */
  credentialIs(text: string): void;
  /** Resolves a ref that stands in this provider's own settings (secret zero). Throws McpRunError. */
  resolveRef(ref: string, signal: AbortSignal): Promise<Secret>;
  /** The OS keychain, where this machine has a usable one; undefined where it has none. */
  keychain(): Promise<SecretStore<KeychainItem> | undefined>;
  /**
   * What another program said, made fit to stand in an error: without `values` and every value known by now,
   * in any usual encoding, and without what looks like a credential.
   */
  quotable(text: string, values: readonly Secret[]): string;
}

/** The keychain provider: a store that this machine may lack although a session bus or a library is there. */
export interface Keychain extends SecretStore<KeychainItem> {
  /** True if something answers; a locked keychain is usable. Never asks its user for anything. */
  isUsable(signal: AbortSignal): Promise<boolean>;
}

/** What `ProviderContext.keychain` is asked for; the keychain provider's own refs are of this shape. */
export interface KeychainItem {
  readonly path: string;
}

/** Reads a variable of mcp-run's own environment and remembers its name: the child will not inherit it. */
export interface EnvironmentReader {
  get(name: string): string | undefined;
  /** A variable that says which backend is asked, and no credential: not remembered as read, so that a program gets it. */
  place(name: string): string | undefined;
  /** The whole environment, for a program that fetches secrets and for finding places; not remembered as read. */
  all(): Readonly<Record<string, string>>;
  readonly namesRead: ReadonlySet<string>;
}

/** What a profile says about one ref, before the provider's `refSchema` has looked at it. */
export interface RefRequest {
  readonly path: string;
  readonly version?: string;
  /** Provider-specific keys of the long form, such as `attributes:` or `command:`. */
  readonly [option: string]: unknown;
}

export interface ProviderKind<Config = unknown, Ref extends object = object> {
  /** The word for `type:`; also the provider's name where it needs no settings. */
  readonly name: string;
  /** True if refs work without an entry under `providers:` (then `configSchema` accepts `{}`). */
  readonly worksWithoutSettings: boolean;
  /** Ms that it may take where a person may have to unlock something; without it the profile's fetch timeout holds. */
  readonly patienceMs?: number;
  /** True for a service across a network, whose values `cache:` of a profile may keep for a bad day. */
  readonly isRemote?: boolean;
  /** The settings under `providers:`, without `type`. Strict: unknown keys are errors. */
  readonly configSchema: ZodMiniType<Config>;
  /** A RefRequest, narrowed to what this backend understands. Strict. */
  readonly refSchema: ZodMiniType<Ref>;
  /** Reads settings and credentials. Asks no backend yet: only `fetch` and its like do. */
  open(config: Config, context: ProviderContext): Promise<Provider<Ref>>;
}

/** Finds and loads the code of a backend; the composition root makes it. */
export interface ProviderKinds {
  /** Every word that `type:` may be. */
  readonly names: readonly string[];
  load(type: string): Promise<ProviderKind | undefined>;
}

export function isSecretStore<Ref>(provider: Provider<Ref>): provider is SecretStore<Ref> {
  return "put" in provider && "remove" in provider && "list" in provider;
}

export function isRotatableStore<Ref>(provider: Provider<Ref>): provider is RotatableStore<Ref> {
  return isSecretStore(provider) && "putCandidate" in provider;
}

export function isSelfRotating<Ref>(provider: Provider<Ref>): provider is SelfRotating<Ref> {
  return "ownRotation" in provider;
}

export function isKeychain(provider: Provider<object>): provider is Keychain & Provider<object> {
  return isSecretStore(provider) && "isUsable" in provider;
}

export function isRecipientStore<T extends object>(provider: T): provider is T & RecipientStore {
  return "rekey" in provider && "addRecipient" in provider;
}

const LONGEST_PLACE = 1024;

/** The place of a fetched secret; none where the text is too long or holds what can't stand in a line. */
export function placeAt(text: string): Pick<FetchedSecret, "place"> {
  return text.length <= LONGEST_PLACE && !/\p{Cc}/u.test(text) ? { place: text } : {};
}

/** The refusal of whoever wants a candidate that is another rotation's. */
export function heldByAnother({ rotationId, operator, createdAt }: CandidateMark): ProviderError {
  return new ProviderError(
    "conflict",
    `it is being rotated by ${operator} since ${createdAt.toISOString()} (rotation ${rotationId})`,
    {
      hint: `again when that rotation has ended, or, if nobody works on it any more, \`--resume ${rotationId}\` or \`--take-over ${rotationId}\``,
    },
  );
}

/** The refusal of whoever has planned with a version that is no longer the current one. */
export function changedMeanwhile(current: string | undefined, planned: string | undefined): ProviderError {
  const is = current === undefined ? "it is not there" : `its version is ${current}`;
  const was = planned === undefined ? "none was expected" : `${planned} was expected`;
  return new ProviderError("conflict", `${is}, and ${was}: somebody has changed it meanwhile`, {
    hint: "again, from what is there now",
  });
}
