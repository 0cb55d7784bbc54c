/** Where one store's files are: the ciphertext apart from the keys, everything named after the provider. */
import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import { join, relative } from "node:path";
import { ProviderError, systemErrorCode } from "../../src/errors.ts";
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
/** Throws ProviderError `invalid` for a `~/` without a home. */
export function placesOf(settings: LocalSettings, context: ProviderContext): Places {
  const { name, paths } = context;
  const store =
    settings.file === undefined ? join(paths.data, `${name}.age`) : absolute(settings.file, context);
  // Two homes on one machine (MCP_RUN_HOME) share a keychain, but not an identity.
  const home = digestOf(paths.config);
  // Whom one file is encrypted to must not decide about another one, also where two profile files use one name.
  const pinned = settings.file === undefined ? name : `${name}-${digestOf(store)}`;
  return {
    store,
    identityFile: join(paths.config, `${name}.identity`),
    keychainItem: `mcp-run/${name}-identity-${home}`,
    recipientsFile:
      settings.recipients === undefined
        ? join(paths.config, `${pinned}.recipients`)
        : absolute(settings.recipients, context),
    isStorePrivate: !relative(paths.data, store).startsWith(".."),
  };
}

/** The same for everybody, also for whoever gets there through a link. */
export function fileUrlOf(store: string): string {
  // As `pathToFileURL` has it, whose module a start has no other use for.
  const url = new URL("file:///");
  url.pathname = linkedFile(store).replaceAll("%", "%25");
  return url.href;
}

function linkedFile(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return path; // Of a file that is not there nothing will be told.
  }
}

function absolute(path: string, { env, platform }: ProviderContext): string {
  if (!path.startsWith("~/")) return path;
  const home = platform === "win32" ? env.all().USERPROFILE : env.all().HOME;
  if (home) return join(home, path.slice(2));
  throw new ProviderError("invalid", `${path} begins with ~/, and HOME is not set`, {
    hint: "an absolute path",
  });
}

function digestOf(path: string): string {
  return createHash("sha256").update(path).digest("hex").slice(0, 8);
}
