/**
 * What the parts of a rotation tell each other. The engine knows the steps and their order, and nothing of backends,
 * issuers, supervisors or people: it is given them as the interfaces below. Values pass through as Secret only; what
 * is written down are names, refs, versions and fingerprints.
 */
import type { SecretName } from "../secrets/identity.ts";
import type { Candidate, CandidateMark, FetchedSecret, OwnRotation } from "../secrets/provider.ts";
import type { Secret } from "../secrets/secret.ts";

/** One document of a store, whole or in some of its fields: what is replaced in one step. */
export interface Target {
  /** `vault:mcp/github`, without a field; names it for people, in the journal and between supervisors. */
  readonly ref: string;
  /** What is new in it. With one part without a field, the whole value. */
  readonly parts: readonly TargetPart[];
  readonly store: TargetStore;
  /** Its backend replaces it by itself: nothing is put into the store. */
  readonly own?: OwnRotation;
}

export interface TargetPart {
  /** The secret's name in the profile. */
  readonly name: string;
  /** As the profile has it: `vault:mcp/github#token`. */
  readonly from: string;
  readonly field?: readonly string[];
  readonly issuer: Issuer;
  /** The name of the part whose new key brings this value along: it is minted, revoked and verified with that. */
  readonly comesWith?: string;
}

/** A RotatableStore for one ref. Every method rejects with ProviderError. */
export interface TargetStore {
  /** Undefined where there is none yet. */
  read(signal: AbortSignal): Promise<FetchedSecret | undefined>;
  /** An earlier value; undefined if the store no longer has it. */
  readVersion(version: string, signal: AbortSignal): Promise<FetchedSecret | undefined>;
  /** Rejects where it is certain that nothing could be written. */
  mustBeWritable?(signal: AbortSignal): Promise<void>;
  findCandidate(signal: AbortSignal): Promise<Candidate | undefined>;
  putCandidate(value: Secret, mark: CandidateMark, signal: AbortSignal): Promise<Candidate>;
  fetchCandidate(rotationId: string, signal: AbortSignal): Promise<FetchedSecret>;
  promote(
    rotationId: string,
    planned: string | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly version: string }>;
  discard(rotationId: string, signal: AbortSignal): Promise<boolean>;
  restore(version: string, planned: string, signal: AbortSignal): Promise<{ readonly version: string }>;
  retire(version: string, signal: AbortSignal): Promise<boolean>;
  /** Nothing was there before this version, and is again. False if there was nothing. */
  remove(version: string, signal: AbortSignal): Promise<boolean>;
}

/** Where a new key comes from and an old one is ended: an issuer's hook, our own random numbers, or a person. */
export interface Issuer {
  /** `generate`, `hook`, `stdin`, `console`: for people and the journal. */
  readonly kind: string;
  /** Before anything is begun: rejects with McpRunError where it is certain already that it can't be asked. */
  mustBeThere?(secret: string): Promise<void>;
  /** Makes a new key. A rotation that goes on after a crash calls `find` first. Rejects with McpRunError. */
  mint(request: IssuerRequest, signal: AbortSignal): Promise<Minted>;
  /** What `mint` has made for this rotation already; undefined if nothing, or if it can't know. */
  find(request: IssuerRequest, signal: AbortSignal): Promise<Minted | undefined>;
  /** The issuer refuses the key from now on. `unknown`: nobody can tell, a person has to do it. */
  revoke(request: IssuerRequest, key: KeyToEnd, signal: AbortSignal): Promise<"revoked" | "unknown">;
  /** Whether the issuer still takes the key; `unknown` where it can't be asked. */
  verify(
    request: IssuerRequest,
    key: KeyToEnd,
    signal: AbortSignal,
  ): Promise<"refused" | "accepted" | "unknown">;
  /**
   * Encrypts anew with one key what the other has encrypted; only for keys that encrypt something. False if some of it
   * is left: then it is asked again when the rotation goes on.
   */
  reencrypt?(
    request: IssuerRequest,
    keys: { readonly before: KeyToEnd; readonly after: KeyToEnd },
    signal: AbortSignal,
  ): Promise<boolean>;
}

export interface IssuerRequest {
  readonly rotationId: string;
  readonly profile: string;
  readonly secret: string;
  readonly reason: string;
}

export interface Minted {
  readonly value: Secret;
  /** The issuer's own name for the key, which is no secret: how it is ended later. */
  readonly keyId?: string;
  /** What came with it for the other secrets that were asked for along: a user name, the id of a key. By name. */
  readonly along?: ReadonlyMap<string, Secret>;
}

export interface KeyToEnd {
  /** The issuer's own name, where it gave one. */
  readonly keyId?: string;
  /** The value, for an issuer that knows keys by nothing else. */
  readonly value?: Secret;
  /** It was minted in this rotation and never promoted: no server has it. */
  readonly isCandidate?: boolean;
}

/** One server started with other values than those of the stores and proven, nobody's client disturbed. */
export interface Canary {
  /**
   * @param values by the secret's name in the profile
   * @param candidates where the values lie beside their secrets: then somebody else may fetch and try them, too
   */
  try(
    values: ReadonlyMap<string, Secret>,
    signal: AbortSignal,
    candidates?: Pick<Candidates, "rotation" | "refs">,
  ): Promise<CanaryOutcome>;
}

/** What a rotation has put beside its secrets. */
export interface Candidates {
  readonly rotation: string;
  /** As the profile has them. */
  readonly refs: readonly string[];
  readonly values: ReadonlyMap<string, Secret>;
}

export interface CanaryOutcome {
  readonly works: boolean;
  /** False if nothing but the handshake was tried: the key itself was not exercised. */
  readonly wasProbed: boolean;
  /** Why nothing was started; a state. Then the rest says nothing. */
  readonly skipped?: string;
  /** Who had the server: `the supervisor with pid 4711`, `mcp-run rotate`. */
  readonly ranBy?: string;
  /** Why not; a state. */
  readonly reason?: string;
  /** What else a person should see then, such as its last lines on stderr; nothing secret is in them. */
  readonly details?: readonly string[];
  /** What else is worth knowing, such as who could not try it; states. */
  readonly notes?: readonly string[];
}

/** Tells every supervisor that uses these refs to look now, and hears what they have. */
export interface Fleet {
  /**
   * Who uses them now.
   *
   * @param key that of the fingerprints
   */
  list(secrets: readonly SecretInUse[], signal: AbortSignal, key: Buffer): Promise<readonly Member[]>;
  /**
   * Tells them, and waits until each has what is wanted, has failed, or `timeoutMs` is over.
   *
   * @param key that of the fingerprints
   */
  spread(
    wanted: readonly Wanted[],
    key: Buffer,
    timeoutMs: number,
    signal: AbortSignal,
    onProgress: (acknowledgements: readonly Acknowledgement[]) => void,
  ): Promise<readonly Acknowledgement[]>;
  /**
   * Whose servers have which of the old leases of these secrets now, as far as it can be asked.
   *
   * @param key that of the fingerprints
   */
  leaseHolders?(wanted: readonly Wanted[], key: Buffer, signal: AbortSignal): Promise<readonly LeaseHolder[]>;
  /**
   * Asks them to hold their clients' requests, and waits some seconds for their answers. What has no pid stands for
   * all who could not be asked.
   *
   * @param key that of the fingerprints
   */
  hold?(secrets: readonly SecretInUse[], key: Buffer, signal: AbortSignal): Promise<readonly Holder[]>;
}

export interface SecretInUse extends SecretName {
  /** Of its value now: whoever has it uses the secret, by whatever ref it has come to him. */
  readonly fingerprint?: string | undefined;
}

/** What a server has to have; without a fingerprint any value other than it had before, such as one of a new lease. */
export interface Wanted extends SecretName {
  readonly fingerprint?: string;
  /** Of the value that is about to end: whoever has it is meant, by whatever ref it has come to him. */
  readonly replaces?: string;
  /** Leases that are about to be revoked: one that has another has what is wanted. */
  readonly oldLeases?: readonly string[];
}

/** Who has values of which leases. */
export interface LeaseHolder extends Member {
  readonly leases: readonly string[];
  /** Why nobody could be asked; then it stands for all who could have been, and any of them may have these. */
  readonly reason?: string;
}

export interface Member {
  readonly host: string;
  readonly pid: number;
  readonly profile: string;
  readonly generation: number;
  /** False for one that can't change its server while it runs. */
  readonly canSwap: boolean;
  /** The name of this life of it on the bus of a fleet. */
  readonly instance?: string;
  /** Within what its pid means one process; said on the bus only. */
  readonly pidSpace?: string;
  /** It was heard in an earlier time, or should be there, and says nothing. */
  readonly isSilent?: true;
}

/** A server whose client's new requests are to wait while its key is ended. */
export interface Holder extends Member {
  readonly holds: boolean;
  /** Why not: a state. */
  readonly reason?: string;
}

export interface Acknowledgement extends Member {
  readonly state: "pending" | "acknowledged" | "failed" | "cannot-swap" | "gone" | "unknown";
  readonly reason?: string;
}
