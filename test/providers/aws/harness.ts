/** The provider of a test, opened on a server that it names, with keys that are canaries. */

import type { AwsRef } from "../../../providers/aws/ref.ts";
import type { AwsSettings } from "../../../providers/aws/settings.ts";
import { awsKind } from "../../../providers/aws.ts";
import type { RotatableStore } from "../../../src/secrets/provider.ts";
import { isRotatableStore } from "../../../src/secrets/provider.ts";
import { awsError, FAKE_REGION, type FakeSecretsManager } from "../../helpers/fake-secrets-manager.ts";
import { type TestContextOverrides, testContext } from "../../helpers/provider-context.ts";
import { settled } from "../contract.ts";

// The bundle has this built in; see rolldown.config.ts.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";

export const CANARY_KEYS = {
  AWS_ACCESS_KEY_ID: "canary-access-key",
  AWS_SECRET_ACCESS_KEY: "canary-secret-key",
  AWS_SESSION_TOKEN: "canary-session-token",
} as const;

/** A ref as the pool would make it. */
export function refTo(path: string, more: Partial<AwsRef> = {}): AwsRef {
  return { path, binary: "base64", ...more };
}

/** Opens the provider as the pool does: settings through the schema, keys from the environment. */
export async function openAws(
  settings: AwsSettings,
  overrides: TestContextOverrides = {},
): Promise<RotatableStore<AwsRef>> {
  const context = testContext({ name: "aws", env: CANARY_KEYS, ...overrides });
  const provider = await awsKind.open(
    awsKind.configSchema.parse({ region: FAKE_REGION, ...settings }),
    context,
  );
  if (!isRotatableStore(provider)) throw new Error("the provider is no store in which a key can be rotated");
  return provider as RotatableStore<AwsRef>;
}

export interface CutOff {
  /** What is there; the service has nothing yet. */
  readonly before: () => Promise<void>;
  readonly step: () => Promise<unknown>;
  /** Looks at what has come of it. */
  readonly after: () => Promise<void>;
}

/**
 * Takes the step again and again, cut off at each of its requests in turn as by the end of the process, and then once
 * more to its end. Answers how many requests it takes.
 *
 * @param isCarriedOut whether the request at which it is cut off is lost, or only its answer
 */
export async function cutOffAtEachRequest(
  fake: FakeSecretsManager,
  isCarriedOut: boolean,
  { before, step, after }: CutOff,
): Promise<number> {
  for (let crashAt = 1; ; crashAt++) {
    fake.reset();
    await before();
    let sent = 0;
    fake.instead = (request) => {
      if (++sent < crashAt) return undefined;
      if (sent === crashAt && isCarriedOut) fake.carryOut(request);
      // Nothing gets through any more: the process is gone.
      return awsError("ExpiredTokenException");
    };
    const outcome = await settled(step());
    fake.instead = () => undefined;
    if (sent < crashAt) {
      if (outcome instanceof Error) throw outcome;
      await after();
      return sent;
    }
    if (!(outcome instanceof Error)) throw new Error(`it did not notice that request ${crashAt} failed`);
    await step();
    await after();
  }
}
