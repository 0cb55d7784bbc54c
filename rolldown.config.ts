import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "rolldown";

/**
 * CommonJS (it loads faster than ESM on Node 20), and a lazy chunk for every `import()`: each command and each
 * backend is read from disk only when it is used. What every start of a server reads is in few files.
 */
export default defineConfig({
  input: { main: "src/main.ts", "keychain-helper": "providers/keychain/helper.ts" },
  platform: "node",
  external: [/^node:/, "@napi-rs/keyring"],
  resolve: {
    alias: {
      // The package's ES modules: its CommonJS build, which Node would take, can't be shaken and loads 4 ms slower.
      yaml: join(import.meta.dirname, "node_modules/yaml/browser/index.js"),
      // node-vault loads it, and never calls it, since providers/vault hands in requests of its own.
      axios: join(import.meta.dirname, "providers/vault/absent-axios.ts"),
    },
  },
  // The AWS SDK prints on Node 20 that it will want a newer one. A variable would be inherited by every program.
  transform: { define: { "process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED": '"true"' } },
  output: {
    dir: "dist",
    format: "cjs",
    // An import() of a Node module would need a callback that a script from the code cache does not have.
    dynamicImportInCjs: false,
    entryFileNames: "[name].cjs",
    chunkFileNames: "chunks/[name]-[hash].cjs",
    cleanDir: true,
    minify: true,
    // Each takes what it imports along, unless one before has it: the start of a server opens these and main.cjs.
    codeSplitting: {
      groups: [
        { name: "main", test: /\/src\/main\.ts$/, priority: 4 },
        { name: "cli", test: /\/src\/cli\.ts$/, priority: 3 },
        { name: "start", test: /\/src\/commands\/(run|exec)\.ts$/, priority: 2 },
        { name: "local", test: /\/providers\/local\.ts$/, priority: 1 },
      ],
    },
  },
  plugins: [modulesOfSdks(), silentNats(), asciiOnly(), thirdPartyNotices()],
});

/** ES modules of these SDKs, of which only what is used gets in; Node would take their CommonJS builds, whole. */
function modulesOfSdks(): Plugin {
  return {
    name: "modules-of-sdks",
    resolveId: {
      filter: { id: /^@(?:aws-sdk|smithy|opentelemetry)\// },
      handler(source) {
        const [, name = "", path = ""] = /^(@[^/]+\/[^/]+)(.*)$/.exec(source) ?? [];
        const folder = join(import.meta.dirname, "node_modules", name);
        const { exports, module } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
        const file = exports?.[`.${path}`]?.module ?? module;
        return file === undefined ? null : join(folder, file);
      },
    },
  };
}

/** The NATS client says on stdout what it could not read, and stdout belongs to the server. */
function silentNats(): Plugin {
  return {
    name: "silent-nats",
    transform: {
      filter: { id: /node_modules\/@nats-io\// },
      handler: (code) => code.replace(/\bconsole\.\w+\(/g, "void ("),
    },
  };
}

/** One character beyond Latin-1 makes V8 keep the whole file in two bytes a character, and decode it slowly. */
function asciiOnly(): Plugin {
  return {
    name: "ascii-only",
    generateBundle(_options, bundle) {
      for (const chunk of Object.values(bundle)) {
        if (chunk.type === "chunk") chunk.code = chunk.code.replace(/[^\0-\x7f]/g, escaped);
      }
    },
  };
}

/** @param unit one UTF-16 code unit; the escape means the same in strings, templates and regular expressions */
function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** Writes the licences of everything that was bundled next to it, as those licences ask for. */
function thirdPartyNotices(): Plugin {
  return {
    name: "third-party-notices",
    generateBundle(_options, bundle) {
      const modules = Object.values(bundle).flatMap((chunk) =>
        chunk.type === "chunk" ? chunk.moduleIds : [],
      );
      const packages = new Set(
        modules.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []),
      );
      const source = [...packages]
        .sort()
        .map(noticeOf)
        .join(`\n${"-".repeat(80)}\n\n`);
      this.emitFile({ type: "asset", fileName: "THIRD-PARTY-NOTICES.txt", source });
    },
  };
}

function noticeOf(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  return `${name} ${version} (${license})\n\n${file ? readFileSync(join(folder, file), "utf8") : ""}`;
}
