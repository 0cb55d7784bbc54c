/** The secrets that change with another: each has an issuer of its own, or comes with one key. */
import { nearest } from "../nearest.ts";
import type { Compilation } from "./compilation.ts";
import type { DocumentPath } from "./findings.ts";
import type { LongSecret, RotateEntry } from "./schema.ts";

export function checkWith(
  name: string,
  { with: names = [], generate }: RotateEntry,
  path: DocumentPath,
  compilation: Compilation,
): void {
  const { body, findings, secretNames } = compilation;
  for (const [index, other] of names.entries()) {
    const place = { path: [...path, index] };
    const entry = body.secrets?.[other];
    if (other === name)
      findings.error(place, `\`${name}\` stands under its own \`with\``, { hint: "leaving it out" });
    else if (names.indexOf(other) < index)
      findings.error(place, `\`${other}\` stands there twice`, { hint: "leaving one out" });
    else if (!secretNames.has(other)) {
      const near = nearest(other, secretNames);
      findings.error(place, `there is no secret \`${other}\`${near ? `, did you mean \`${near}\`?` : ""}`);
    } else if (typeof entry === "object" && entry.from === undefined)
      findings.error(place, `\`${other}\` comes from no backend, so it can't be written`, {
        hint: "leaving it out",
      });
    else if (generate && !(typeof entry === "object" && entry.rotate))
      findings.error(place, `nothing says where a new \`${other}\` comes from`, {
        hint: `a \`rotate\` of its own at \`${other}\``,
      });
    else checkLeader(name, other, place, compilation);
  }
}

/** What has no issuer of its own can come with one key only. */
function checkLeader(
  name: string,
  other: string,
  place: { path: DocumentPath },
  compilation: Compilation,
): void {
  const entries = Object.entries(compilation.body.secrets ?? {});
  const rotateOf = (entry: unknown) => (typeof entry === "object" ? (entry as LongSecret).rotate : undefined);
  if (rotateOf(compilation.body.secrets?.[other])) return;
  const [first] = entries.find(([, entry]) => rotateOf(entry)?.with?.includes(other)) ?? [];
  if (first === undefined || first === name) return;
  compilation.findings.error(place, `a new \`${other}\` comes with \`${first}\` already`, {
    hint: "one of the two, or a `rotate` of its own there",
  });
}
