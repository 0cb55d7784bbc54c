/** The versions of a secret of FakeSecretsManager, and the rules of their staging labels. */

export interface Version {
  readonly id: string;
  readonly text: string | undefined;
  /** Base64. */
  readonly bytes: string | undefined;
  /** Seconds since the epoch. */
  readonly createdAt: number;
  readonly labels: Set<string>;
}

/** One secret. */
export interface Entry {
  readonly name: string;
  readonly arn: string;
  readonly versions: Map<string, Version>;
  readonly description: string | undefined;
  deletedAt?: number;
  /** A rotation function is configured. */
  rotatesItself?: boolean;
}

/** Moves the label; with AWSCURRENT goes AWSPREVIOUS, to the version that was current. */
export function attach(entry: Entry, label: string, version: Version): void {
  const before = bearerOf(entry, label);
  if (before === version) return;
  before?.labels.delete(label);
  version.labels.add(label);
  if (label !== "AWSCURRENT") return;
  version.labels.delete("AWSPREVIOUS");
  if (before) attach(entry, "AWSPREVIOUS", before);
}

/** The version that bears the label: one at most. */
export function bearerOf(entry: Entry, label: string): Version | undefined {
  return [...entry.versions.values()].find(({ labels }) => labels.has(label));
}

/** The labels of each version; one without any is not shown. */
export function labelsOf(entry: Entry): Record<string, string[]> {
  const labelled = [...entry.versions.values()].filter(({ labels }) => labels.size > 0);
  return Object.fromEntries(labelled.map(({ id, labels }) => [id, [...labels]]));
}
