/** What is done about a server that tells its client a secret: `scrub.stdout` of a profile. */
import type { Emit } from "../../events.ts";
import type { LeakPolicy } from "../../launch/switchboard.ts";
import type { Profile } from "../../profile/profile.ts";

/** Beyond these nothing new is reported: a method's name comes from the server. */
const MOST_REPORTED = 1_000;

/**
 * Undefined if nobody is to look. Each secret is reported once for each method.
 *
 * @param onSeen called for each message that holds a secret
 */
export function leakPolicy(
  { name, stdout }: Profile,
  emit: Emit,
  onSeen: () => void,
): LeakPolicy | undefined {
  if (stdout === "off") return undefined;
  const reported = new Set<string>();
  return {
    mode: stdout === "warn" ? "report" : "redact",
    onLeak: ({ names, method, id }) => {
      onSeen();
      const fresh = names.filter((secret) => !reported.has(`${secret} ${method}`));
      if (fresh.length === 0 || reported.size >= MOST_REPORTED) return;
      for (const secret of fresh) reported.add(`${secret} ${method}`);
      emit({
        type: "leak",
        profile: name,
        secrets: fresh,
        isMasked: stdout === "redact",
        ...(method !== undefined && { method }),
        ...(id !== undefined && { id }),
      });
    },
  };
}
