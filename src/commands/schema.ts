/** `mcp-run schema`: the JSON Schema of the profile file, for editors. */
import { profileJsonSchema } from "../profile/json-schema.ts";
import type { ProviderKind } from "../secrets/provider.ts";
import type { CommandContext } from "./context.ts";

export async function schema({ kinds, stdout }: Pick<CommandContext, "kinds" | "stdout">): Promise<number> {
  const loaded = await Promise.all(kinds.names.map((name) => kinds.load(name)));
  const document = profileJsonSchema(loaded.filter((kind): kind is ProviderKind => kind !== undefined));
  stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  return 0;
}
