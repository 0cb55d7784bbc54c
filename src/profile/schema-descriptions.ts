/** What an editor shows beside each key. Only `mcp-run schema` loads this; a test sees that no key lacks one. */

export const FILE_DESCRIPTIONS: Readonly<Record<string, string>> = {
  version: "The version of this format: 1.",
  providers:
    "Backends that need settings, by the word that refs use. keychain, local, env and file work without an entry.",
  defaults: "Merged under each profile: mappings key by key, anything else is replaced by the profile.",
  profiles: "The profiles by name. A profile can't have the name of a command.",
  fleet:
    "The NATS servers over which supervisors of other machines hear of new values, so that rotate and status cover them.",
  audit: "Not yet supported.",
};

export const FLEET_DESCRIPTIONS: Readonly<Record<string, string>> = {
  servers: "One address or several: tls://HOST:4222. Without TLS (nats://) only this machine is reached.",
  credentials:
    "The ref of this host's credentials: the content of a creds file, an nkey seed, user:password, or a token.",
  operator: "The ref of the credentials of who types rotate, status and fleet here; credentials without it.",
  inventory:
    "The hosts that there should be, as a list, or a file with one a line, so that one that is silent is named.",
  host: "The name of this machine on the bus; the system's own by default.",
  ca: "A PEM file: the authority that signs the servers' certificates; the system's own by default.",
};

export const PROFILE_DESCRIPTIONS: Readonly<Record<string, string>> = {
  description: "One line for people.",
  command: "The program: a name that is looked for in PATH, or an absolute path. Variables are not expanded.",
  args: "Its arguments. Variables are not expanded; {{NAME}} inserts a secret that secretsInArgs names.",
  cwd: `The server's working directory: absolute, or beginning with ~/. \${NAME} and \${NAME:-default} are expanded.`,
  env: `Plain variables for the server. \${NAME} and \${NAME:-default} are expanded; credentials are refused.`,
  inheritEnv: "Names that the server inherits besides the default list; or none, or all.",
  secrets:
    "The server's secrets: a variable's name, and the ref provider:path#key of its value, or the long form.",
  secretsFrom: "Every field of a JSON or key-value document as a secret of its own.",
  secretsInArgs: "Secrets that may stand as {{NAME}} in args. Every user of the machine can see them there.",
  stopGrace: "Between TERM and KILL when the server is stopped; 1500ms by default.",
  fetchTimeout: "How long a backend may take to answer; 10s by default.",
  maxLine: "The longest line that is relayed; 64MiB by default.",
  scrub: "How secret values in the server's output are treated. On stderr they are always scrubbed.",
  onCrash:
    "What happens when the server ends by itself after its first answer: restart (the default), or exit with its code.",
  cache:
    "Keeps the last good secrets, encrypted, for a backend out of reach, and serves them for at most maxAge. off by default.",
  refresh:
    "When the secrets are looked at again, besides before a lease or a value ends, and what a change leads to.",
  probe:
    "Proves a new server before it serves, so that a new key is known to work: a tool, a method, or a program.",
  rotate: "Not yet supported.",
  environment: "What the profile is for. The audit of development is kept for 30 days by default.",
  audit: "What the audit holds beside what it always does, how long it is kept, and where else it is sent.",
};

export const AUDIT_DESCRIPTIONS: Readonly<Record<string, string>> = {
  calls:
    "A record of each tool call: metadata is its tool, time, outcome and client, never parameters or results. off by default.",
  retention:
    "For how long files that are begun from now on are kept, 1d to 3650d; 90d by default, 30d for development.",
  export: "Where records and figures are sent by OpenTelemetry; off overrides defaults.",
};

export const EXPORT_DESCRIPTIONS: Readonly<Record<string, string>> = {
  otlp: "The base address of an OTLP/HTTP receiver, without /v1/logs: https, or http on this machine.",
  headers: "Headers of each request. {{NAME}} inserts a secret of the profile.",
};

export const REFRESH_DESCRIPTIONS: Readonly<Record<string, string>> = {
  every:
    "How often, 1s to 365d, give or take a tenth. Values with a lease or an expiry follow those. Beside cron, whichever comes first.",
  cron: "At these times: five fields (minute, hour, day, month, weekday), or six with seconds in front.",
  timezone: "The IANA name of cron's time zone; the machine's own by default.",
  restart:
    "How a new server takes over: overlap (the default), sequential for one that can't run twice, never to only report.",
  drain: "How long the old server may take to finish its requests, 0s to 24h; 10m by default.",
  signal: "Sent instead of a restart where all that changed is delivered by file. Not on Windows.",
};

export const PROBE_DESCRIPTIONS: Readonly<Record<string, string>> = {
  tool: "The tool that is called. It should only read, and need the secret for it.",
  arguments: "Its arguments; none by default.",
  method: "Another request, instead of a tool.",
  params: "Its params; none by default.",
  program:
    "A program with the server's environment, as a list of words, instead of a request; no shell is involved. Exit code 0 means that the secrets work.",
  timeout: "How long the program may take, 1s to 60s; 30s by default.",
  negative:
    "After a rotation has revoked a key, a server with the old one must fail the probe: true, or a list of the secrets that the probe needs.",
};

export const SCRUB_DESCRIPTIONS: Readonly<Record<string, string>> = {
  stdout:
    "A secret in a message to the client: warn (the default) reports it, redact masks it, off does not look.",
};

export const SECRET_DESCRIPTIONS: Readonly<Record<string, string>> = {
  from: "The ref of the value: provider:path, or provider:path#key for a field of a JSON document.",
  template:
    "A text in which {{NAME}} and {{NAME|uri}}, {{NAME|json}}, {{NAME|base64}} insert other secrets of the profile.",
  command: "A program whose output is the value, as a list of words; no shell is involved.",
  version: "A version of the value, where the provider has versions.",
  optional: "True: the server is started without the secret when the backend does not have it.",
  deliver:
    "As a variable (env), as a private file whose path is in NAME_FILE (file), or only for templates (none).",
  scrub: "False leaves the value readable in the server's output: user names, ports, regions.",
  maxAge: "How old a version of the value may be, 1m to 3650d; check and status say when it is older.",
  rotate: "Where a new value comes from when the secret is rotated: generate, hook, console or backend.",
  kind: "Set to encryption-key: what is encrypted with it must be encrypted anew, so that only a hook can rotate it.",
};

export const ROTATE_DESCRIPTIONS: Readonly<Record<string, string>> = {
  generate: "A random value of at least 128 bits, for keys of your own.",
  hook: "A program that talks to the issuer, as a list of words; no shell is involved. docs/hooks.md has its protocol.",
  console: "The address of the page on which a person makes a new key, who is then asked for it.",
  backend: "True: the backend replaces it by itself: a rotation of AWS, a static role or a lease of Vault.",
  with: "Other secrets that change with this one. One without a rotate of its own comes from this one's hook or person.",
  grantOldValue: "True: the hook is told the old value where that is to be revoked or verified.",
  timeout: "How long the hook may take, 1s to 10m; 60s by default.",
};

export const GENERATE_DESCRIPTIONS: Readonly<Record<string, string>> = {
  length: "How many characters of the alphabet.",
  alphabet: "The characters, each once; letters and digits by default.",
  bytes: "How many random bytes, 16 to 4096.",
  encoding: "How the bytes are written: base64url (the default), base64 or hex.",
};

export const SECRETS_FROM_DESCRIPTIONS: Readonly<Record<string, string>> = {
  from: "The ref of the document.",
  version: "A version of the document, where the provider has versions.",
  prefix: "Put before each field's name. This or only is required.",
  only: "The fields to take. This or prefix is required.",
  optional: "True: nothing is set when the backend does not have the document.",
};
