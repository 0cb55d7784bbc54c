/** A rotation as the person who runs it reads it: the plan, a line for each step, and how it ended. */
import { escapeControl } from "../../escape.ts";
import type { Outcome, RotationEvent } from "../../rotation/happening.ts";
import { MODES } from "../../rotation/modes.ts";
import type { RotationPlan } from "../../rotation/plan.ts";
import { membersText } from "./members.ts";

const SHOWN_FINGERPRINT = 12;
const SHOWN_LEASES = 20;
const LIVE =
  "  A backend changes its live key itself: it can't be tried before or put back, and requests with the old one fail until their servers have the new one.";

/**
 * What it would do, to which secrets, and who runs them.
 *
 * @param alone why no second server of the profile is started beside one that runs
 */
export function planText({ record, members }: RotationPlan, alone?: string): string {
  const { rotation, reason, operator, targets, options } = record;
  const lines = [`Rotation ${rotation} by ${operator}: ${reason}`];
  for (const { ref, version, place, parts, mode, leases } of targets) {
    const where = place === undefined ? "" : ` at ${place}`;
    const present = version === undefined ? " (not there yet)" : `, version ${version}`;
    lines.push(`  ${ref}${where}${leases ? "" : present}${mode ? `: ${MODES[mode].what}` : ""}`);
    for (const { name, issuer, fingerprint, comesWith } of parts) {
      const source = comesWith === undefined ? issuer : `with ${comesWith}`;
      const now =
        fingerprint === undefined
          ? (leases && "one for each who asks") || "no value yet"
          : `live fingerprint ${fingerprint.slice(0, SHOWN_FINGERPRINT)}`;
      lines.push(`    ${name}: ${now}, the new one from ${source}`);
    }
    if (leases) lines.push(...leasesText(leases));
  }
  const modes = targets.map(({ mode }) => MODES[mode ?? "value"]);
  if (!modes.every(({ overlap }) => overlap)) lines.push(LIVE);
  if (options.revokeFirst)
    lines.push(
      "  The old key is revoked before the new one serves: servers are asked to hold new requests meanwhile, for 45 s at most; what goes on with the old key fails.",
    );
  else if (modes.some(({ overlap }) => overlap))
    lines.push("  The new key is tried and spread before the old one is revoked.");
  if (alone !== undefined && members.some(({ profile }) => profile === record.profile))
    lines.push(`  There is no canary: ${alone}. The new key is not tried before it serves.`);
  lines.push(...membersText(members));
  return text(lines);
}

function leasesText(leases: readonly string[]): readonly string[] {
  const more = leases.length - SHOWN_LEASES;
  return [
    leases.length === 0
      ? "    No lease is alive: there is nothing to revoke."
      : `    ${count(leases.length, "lease")} to revoke, each by its id:`,
    ...leases.slice(0, SHOWN_LEASES).map((id) => `      ${id}`),
    ...(more > 0 ? [`      and ${more} more, in the journal`] : []),
  ];
}

/** Undefined for what is no news to a person. */
export function eventText(event: RotationEvent): string | undefined {
  switch (event.type) {
    case "began":
      return text([event.isResumed ? `Going on with ${event.rotation}` : `Beginning ${event.rotation}`]);
    case "step-done": {
      const { version, parts = [], wasProbed, skipped, ranBy, reason } = event.facts;
      // It goes on, and the end lists the key.
      const isOpen = event.step === "revoke-new" && parts.some(({ result }) => result === "unknown");
      const more = [
        ...(version === undefined ? [] : [`version ${version}`]),
        ...(ranBy === undefined ? [] : [`tried by ${ranBy}`]),
        ...(skipped === undefined ? [] : [`there was none, since ${skipped}`]),
        ...(wasProbed === false && skipped === undefined
          ? ["the key itself was not exercised, since there is no probe"]
          : []),
        ...parts.flatMap(({ name, reason: why }) => (why === undefined ? [] : [`${name}: ${why}`])),
        ...(isOpen ? ["nobody has revoked it"] : []),
        ...(reason === undefined ? [] : [reason]),
      ];
      return text([
        `${isOpen ? "-" : "✔"} ${stepText(event)}${more.length > 0 ? `: ${more.join(", ")}` : ""} (${seconds(event.ms)})`,
      ]);
    }
    case "step-failed":
      return text([
        `✘ ${stepText(event)}: ${event.reason} (${seconds(event.ms)})`,
        ...(event.details ?? []).map((line) => `    ${line}`),
      ]);
    case "turned":
      return text([`→ ${event.to}: ${event.reason}`]);
    case "note":
      return text([`- ${event.message}`]);
    case "acknowledgements":
    case "step-began":
    case "asked":
    case "ended":
      return undefined;
  }
}

/** How it ended, what is still valid, and what can be typed now. */
export function outcomeText({ is, rotation, reason, hint, stillValid, next }: Outcome): string {
  const lines = [`Rotation ${rotation}: ${is}${reason === undefined ? "" : `, ${reason}`}`];
  if (hint !== undefined) lines.push(`Try ${hint}.`);
  for (const { which, secret, target, keyId } of stillValid) {
    const key = keyId === undefined ? "" : `, key ${keyId}`;
    lines.push(`${which.toUpperCase()} KEY STILL VALID: ${secret} of ${target}${key}`);
  }
  return text([...lines, ...next.map((line) => `  ${line}`)]);
}

function stepText({ step, target }: { readonly step: string; readonly target?: string }): string {
  return target === undefined ? step : `${step} ${target}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function count(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? "" : "s"}`;
}

/** Names and reasons come from elsewhere. */
function text(lines: readonly string[]): string {
  return `${lines.map((line) => escapeControl(line, " ")).join("\n")}\n`;
}
