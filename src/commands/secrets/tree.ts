/** The command tree below `mcp-run secrets`. */
import { type Command, Option } from "commander";
import { type Does, examples } from "../tree.ts";

export function addSecretsCommands(secrets: Command, does: Does): void {
  const load = () => import("../secrets.ts");
  const loadRecipients = () => import("./recipients.ts");
  secrets.addHelpText(
    "after",
    examples([
      "mcp-run secrets set local:github-token",
      "mcp-run secrets generate local:webhook-key",
      "mcp-run secrets list",
    ]),
  );
  secrets
    .command("set")
    .description("store a value, from a hidden prompt or from stdin (one trailing newline is dropped)")
    .argument("<ref>", "where to store it; with #field it is one field of a JSON document, the others stay")
    .addHelpText(
      "after",
      examples([
        "mcp-run secrets set local:github-token",
        "pbpaste | mcp-run secrets set keychain:github",
        "mcp-run secrets set vault:mcp/github#token",
      ]),
    )
    .action(
      does((ref: string, _options: object) => async (context) => (await load()).setSecret(context, ref)),
    );
  secrets
    .command("get")
    .description("say whether a value is there; with --reveal print it")
    .argument("<ref>", "which one, such as local:github-token")
    .option("--reveal", "print the value to stdout")
    .action(
      does(
        (ref: string, options: { reveal?: boolean }) => async (context) =>
          (await load()).getSecret(context, ref, options),
      ),
    );
  secrets
    .command("list")
    .description("list what a store holds, names only")
    .argument("[provider]", "which store", "local")
    .action(
      does(
        (provider: string, _options: object) => async (context) =>
          (await load()).listSecrets(context, provider),
      ),
    );
  secrets
    .command("rm")
    .description("remove a whole entry, its earlier versions included")
    .argument("<ref>", "which one, without a #field")
    .action(
      does((ref: string, _options: object) => async (context) => (await load()).removeSecret(context, ref)),
    );
  secrets
    .command("generate")
    .description("store a random value that nobody has seen")
    .argument("<ref>", "where to store it; with #field it is one field of a JSON document, the others stay")
    .option("--bytes <n>", "bytes of randomness, at least 16", "32")
    .addOption(
      new Option("--encoding <name>", "how they are written")
        .choices(["base64url", "base64", "hex"])
        .default("base64url"),
    )
    .option("--replace", "replace a value that is there")
    .addHelpText(
      "after",
      examples([
        "mcp-run secrets generate local:webhook-key",
        "mcp-run secrets generate local:cookie-key --bytes 64 --encoding hex",
      ]),
    )
    .action(
      does(
        (
          ref: string,
          options: { bytes: string; encoding: "base64url" | "base64" | "hex"; replace?: boolean },
        ) =>
          async (context) =>
            (await load()).generateSecret(context, ref, options),
      ),
    );
  secrets
    .command("rekey")
    .description("give the local store a new identity, and list the values that must be rotated")
    .argument("[provider]", "which store", "local")
    .action(
      does(
        (provider: string, _options: object) => async (context) =>
          (await loadRecipients()).rekey(context, provider),
      ),
    );

  const recipients = secrets.command("recipients").description("who can read the local store");
  const provider = () => new Option("--provider <name>", "which store").default("local");
  recipients
    .command("list", { isDefault: true })
    .description("list the public keys that the store is encrypted to")
    .addOption(provider())
    .action(
      does(
        (options: { provider: string }) => async (context) =>
          (await loadRecipients()).listRecipients(context, options.provider),
      ),
    );
  recipients
    .command("add")
    .description("let one more public key read the store")
    .argument("<key>", "an age public key (age1…)")
    .option("--label <text>", "whose it is")
    .addOption(provider())
    .action(
      does(
        (key: string, options: { label?: string; provider: string }) => async (context) =>
          (await loadRecipients()).addRecipient(context, key, options),
      ),
    );
  recipients
    .command("rm")
    .description("encrypt the store without this key from now on")
    .argument("<key>", "its public key or its label")
    .addOption(provider())
    .action(
      does(
        (key: string, options: { provider: string }) => async (context) =>
          (await loadRecipients()).removeRecipient(context, key, options),
      ),
    );
}
