/** What the profile room has to be told of the process and its user. */
import type { Paths } from "../paths.ts";
import type { ProviderKinds } from "../secrets/provider.ts";
import type { Variables } from "./variables.ts";

export interface ProfileRequest {
  /** `--config FILE` */
  readonly configFile?: string;
  /** For `$MCP_RUN_CONFIG` and `${NAME}`. */
  readonly env: Variables;
  readonly cwd: string;
  readonly home: string;
  readonly paths: Paths;
  readonly platform: NodeJS.Platform;
  /** Undefined where there is no such thing; then nobody's files are refused. */
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  /** Literals that look like credentials become warnings. */
  readonly allowPlaintext: boolean;
  readonly kinds: ProviderKinds;
  /** Also validate the providers that the profile does not use. */
  readonly checkAllProviders?: boolean;
}
