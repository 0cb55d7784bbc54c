/** Where one store's files are: the ciphertext apart from the keys, everything named after the provider. */
import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { join, relative } from "node:path";
import type { ProviderContext } from "../../src/secrets/provider.ts";

/** The settings under `providers:`; design.md section 4. */
export interface LocalSettings {
  /** The encrypted file: absolute, or beginning with `~/`. */
  readonly file?: string | undefined;
  /** `auto`, `file`, `keychain`, or a ref. */
  readonly identity?: string | undefined;
  /** The file of pinned public keys: absolute, or beginning with `~/`. */
  readonly recipients?: string | undefined;
  /** A ref; the store is then encrypted with a passphrase instead of keys. */
  readonly passphrase?: string | undefined;
}

export interface Places {
  readonly store: string;
  readonly identityFile: string;
  /** What the keychain calls the identity. */
  readonly keychainItem: string;
  readonly recipientsFile: string;
  /** True if the store lies where mcp-run keeps its own data, and not where somebody shares it. */
  readonly isStorePrivate: boolean;
}

/** The places of one store; nothing is looked at or made. */
export function placesOf(settings: LocalSettings, { name, paths }: ProviderContext): Places {
  const store = settings.file === undefined ? join(paths.data, `${name}.age`) : absolute(settings.file);
  // Two homes on one machine (MCP_RUN_HOME) share a keychain, but not an identity.
  const home = createHash("sha256").update(paths.config).digest("hex").slice(0, 8);
  return {
    store,
    identityFile: join(paths.config, `${name}.identity`),
    keychainItem: `mcp-run/${name}-identity-${home}`,
    recipientsFile:
      settings.recipients === undefined
        ? join(paths.config, `${name}.recipients`)
        : absolute(settings.recipients),
    isStorePrivate: !relative(paths.data, store).startsWith(".."),
  };
}

function absolute(path: string): string {
  return path.startsWith("~/") ? join(homedir(), path.slice(2)) : path;
}
