/** What an incident leaves open: what nobody knows, and what somebody has to do. Each a line of Markdown. */
import type { Acknowledgement } from "../contract.ts";
import type { Incident, IncidentSecret } from "./incident.ts";
import { plain } from "./markdown.ts";

/** Their old key may be taken by its issuer. What was given up or taken back has its old key in use on purpose. */
export function openKeys({ outcome, secrets }: Incident): readonly IncidentSecret[] {
  if (outcome === "discarded" || outcome === "rolled-back") return [];
  return secrets.filter(({ revoked, verified }) => {
    const isEnded = revoked === "revoked" || revoked === "by-hand" || revoked === "not-needed";
    return !isEnded || verified === "accepted";
  });
}

export function unknowns({ canary, acknowledgements, secrets, notes }: Incident): readonly string[] {
  const silent = acknowledgements.filter(({ state }) => state === "unknown");
  const unproven = secrets.filter(
    ({ revoked, verified }) => revoked !== "not-needed" && verified === "unknown",
  );
  return [
    "Since when others have had the old key, and what they have done with it: ask its issuer for the log of its use.",
    "Copies of the old key outside of the stores named here, and servers that mcp-run has not started.",
    ...canaryUnknowns(canary),
    ...silent.map((one) => `What ${whoIs(one)} has: it did not answer.`),
    ...unproven.map(
      ({ name }) => `Whether the old ${plain(name)} is refused: its issuer could not be asked.`,
    ),
    ...notes.map((note) => `${upperFirst(plain(note))}.`),
  ];
}

function canaryUnknowns(canary: Incident["canary"]): readonly string[] {
  if (!canary) return ["Whether the new keys work: no server was tried with them before."];
  if (canary.skipped !== undefined)
    return [
      `Whether the new keys work: no server was tried with them before, since ${plain(canary.skipped)}.`,
    ];
  if (!canary.works) return [`Whether the new keys work: ${plain(canary.reason ?? "the canary failed")}.`];
  return canary.wasProbed
    ? []
    : ["Whether the new keys work: a server came up with them, but without a probe they were not exercised."];
}

export function todos(incident: Incident): readonly string[] {
  const { acknowledgements, outcome } = incident;
  const open = (...states: readonly Acknowledgement["state"][]) =>
    acknowledgements.filter(({ state }) => states.includes(state));
  const isReplaced = outcome === "done" || outcome === "incomplete";
  return [
    ...openKeys(incident).map(({ name, issuer, before }) => {
      const which = before.keyId === undefined ? "" : ` (${plain(before.keyId)})`;
      return `Revoke the old ${plain(name)}${which} where it was issued (${plain(issuer)}): it may be valid still.`;
    }),
    ...incident.strays.map(({ name, keyId }) => {
      const which = keyId === undefined ? "" : ` (${plain(keyId)})`;
      return `Revoke the new ${plain(name)}${which} where it was issued: it was given up, and may be valid.`;
    }),
    ...(isReplaced
      ? open("cannot-swap").map((one) => `Restart ${whoIs(one)}: it serves with the old key.`)
      : []),
    ...(isReplaced
      ? open("pending", "failed", "unknown").map(
          (one) => `See to ${whoIs(one)}: it may serve with the old key.`,
        )
      : []),
    ...(outcome === "incomplete" ? ["Finish this rotation, with one of the commands below."] : []),
    ...(outcome === "discarded" ? ["Replace the leaked key: this rotation has not."] : []),
    ...(outcome === "rolled-back" ? ["Replace the leaked key: the old one serves again."] : []),
    "Look through the logs of the issuer, and of the store, for uses that were not yours.",
    "Remove the key from where it leaked, and find out how it came there.",
  ];
}

function whoIs({ profile, host, pid }: Acknowledgement): string {
  return `${plain(profile)} on ${plain(host)}, pid ${pid}`;
}

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
