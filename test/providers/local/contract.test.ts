import { realpathSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { StoreArchive } from "../../../providers/local/archive.ts";
import { emptyDocument, newVersion, withVersion } from "../../../providers/local/document.ts";
import { IdentityKey } from "../../../providers/local/identity-key.ts";
import { placesOf } from "../../../providers/local/places.ts";
import type { LocalRef, LocalStore } from "../../../providers/local/store.ts";
import { localKind } from "../../../providers/local.ts";
import type { ProviderContext } from "../../../src/secrets/provider.ts";
import { inMemoryKeychain, testContext } from "../../helpers/provider-context.ts";
import type { OpenHarness } from "../contract.ts";
import { describeRotationContract } from "../rotation-contract.ts";

/** Of the store that is open. */
let context = testContext();

const writers = {
  placeOf: (name: string) => `${pathToFileURL(realpathSync(placesOf({}, context).store)).href}#${name}`,
  another: () => localKind.open({}, context) as Promise<LocalStore>,
  stored: async () => {
    const places = placesOf({}, context);
    const key = new IdentityKey({ settings: {}, places, context });
    const opened = await new StoreArchive(places, key, context.clock).read(new AbortController().signal);
    return JSON.stringify(opened?.document);
  },
};

describeRotationContract("local", {
  ...writers,
  emptyIs: "kept",
  open: (entries) => openSeeded(entries, {}),
  async hang() {
    const { home, dispose } = await seededHome({ plain: "canary-plain" }, {});
    const context = testContext({ home, resolveRef: untilAborted });
    const provider = await localKind.open({ identity: "env:TEAM_AGE_KEY" }, context);
    return { provider, ref, dispose };
  },
});

describeRotationContract("local, with its identity in a keychain", {
  ...writers,
  rounds: 5,
  emptyIs: "kept",
  open: (entries) => openSeeded(entries, { keychain: inMemoryKeychain() }),
});

/** Writes all entries at once: one by one, 200 of them would take seconds. */
async function seededHome(
  entries: Readonly<Record<string, string>>,
  overrides: { keychain?: ReturnType<typeof inMemoryKeychain> },
) {
  const home = await mkdtemp(join(tmpdir(), "mcp-run-local-"));
  const context = testContext({ home, ...overrides });
  await seed(entries, context);
  return { home, context, dispose: () => rm(home, { recursive: true }) };
}

async function seed(entries: Readonly<Record<string, string>>, context: ProviderContext): Promise<void> {
  const places = placesOf({}, context);
  const key = new IdentityKey({ settings: {}, places, context });
  const signal = new AbortController().signal;
  let document = emptyDocument();
  for (const [name, value] of Object.entries(entries)) {
    document = withVersion(document, name, newVersion(value, context.clock.now()));
  }
  await new StoreArchive(places, key, context.clock).rewrite(signal, async () => ({
    write: { document, seal: await key.sealAfter(undefined, signal) },
    result: undefined,
  }));
}

async function openSeeded(
  entries: Readonly<Record<string, string>>,
  overrides: { keychain?: ReturnType<typeof inMemoryKeychain> },
): Promise<OpenHarness<LocalRef>> {
  const { dispose, ...seeded } = await seededHome(entries, overrides);
  context = seeded.context;
  return { provider: await localKind.open({}, context), ref, dispose };
}

function ref(path: string): LocalRef {
  return { path };
}

function untilAborted(_ref: string, signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}
