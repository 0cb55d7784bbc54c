/** Secrets that are older than their profile allows. */
import type { Profile } from "../../profile/profile.ts";
import type { ResolvedSecret } from "../../secrets/resolution.ts";
import { shortDuration } from "../../ui/durations.ts";
import type { Finding } from "./result.ts";

/**
 * Nothing is said of a secret whose backend does not know when it was made.
 *
 * @param now wall-clock ms
 */
export function overdueSecrets(
  { secrets: specs }: Pick<Profile, "secrets">,
  secrets: readonly Pick<ResolvedSecret, "name" | "createdAt">[],
  now: number,
): readonly Finding[] {
  const limits = new Map(specs.map(({ name, maxAgeMs }) => [name, maxAgeMs]));
  return secrets.flatMap(({ name, createdAt }): Finding[] => {
    const limit = limits.get(name);
    const age = createdAt && now - createdAt.getTime();
    if (limit === undefined || age === undefined || age <= limit) return [];
    return [
      {
        severity: "warning",
        message: `${name} is ${shortDuration(age)} old, and its \`maxAge\` is ${shortDuration(limit)}`,
        hint: "a new value for it",
      },
    ];
  });
}
