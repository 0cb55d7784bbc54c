/** The steps of a rotation, in their order, and those of the ways back. */

export const STEP_NAMES = [
  "lock",
  "mint",
  "candidate",
  "hold",
  "canary",
  "rotate",
  "promote",
  "spread",
  "reencrypt",
  "revoke",
  "verify",
  "retire",
  "discard",
  "restore",
  "spread-back",
  "revoke-new",
] as const;

export type StepName = (typeof STEP_NAMES)[number];
