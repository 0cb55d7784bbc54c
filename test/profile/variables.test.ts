// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the profile's own syntax
import { describe, expect, it } from "vitest";
import { carriesCredential, namesOnlyCredentials } from "../../src/profile/credential-names.ts";
import { expandVariables, literalPart, withoutVariables } from "../../src/profile/variables.ts";
import { loadBody, messagesOf } from "./room.ts";

const ENV = { HOST: "h", EMPTY: "", LOOP: "${HOST}" };
const expand = (text: string) => expandVariables(text, ENV, (name) => `env:${name}`);

describe("variables", () => {
  it.each([
    ["plain", "plain"],
    ["${HOST}", "h"],
    ["a${HOST}b${HOST}c", "ahbhc"],
    ["${UNSET:-d}", "d"],
    ["${UNSET:-}", ""],
    ["${EMPTY:-d}", "d"],
    ["${EMPTY}", ""],
    ["${HOST:-d}", "h"],
    ["${UNSET:-a b:-c $x}", "a b:-c $x"],
    ["$${HOST}", "${HOST}"],
    ["$HOST $$ $1 {HOST}", "$HOST $$ $1 {HOST}"],
    ["${LOOP}", "${HOST}"],
  ])("in %j give %j", (text, expected) => {
    expect(expand(text)).toMatchObject({ text: expected, problems: [] });
  });

  it.each([
    ["${UNSET}", "the variable `UNSET` is not set"],
    ["${}", "neither"],
    ["${HOST", "neither"],
    ["${HOST-d}", "neither"],
    ["${HOST:?x}", "neither"],
    ["${1}", "neither"],
    ["${a b}", "neither"],
    ["${UNSET:-${HOST}}", "neither"],
    ["${GITHUB_TOKEN}", "`GITHUB_TOKEN` looks like a credential"],
    ["${MY_SECRET:-x}", "`MY_SECRET` looks like a credential"],
  ])("like %j are refused", (text, expected) => {
    const { problems } = expand(text);

    expect(problems).toHaveLength(1);
    expect(problems[0]?.message).toContain(expected);
  });

  it("name what they asked for", () => {
    expect(expand("${HOST}${UNSET:-x}$${NO}").names).toEqual(["HOST", "UNSET"]);
  });

  it("are refused where they are not expanded, and escaped there as well", () => {
    expect(withoutVariables("$${HOST} $HOST", "`args`")).toMatchObject({
      text: "${HOST} $HOST",
      problems: [],
    });
    expect(withoutVariables("${HOST}", "`args`").problems[0]?.message).toBe(
      "`${…}` is not expanded in `args`",
    );
  });

  it("are no part of what is literal", () => {
    expect(literalPart("a${HOST}b$${c}")).toBe("a b${c}");
  });
});

describe("variables of a profile", () => {
  it("are expanded in env and cwd", async () => {
    const profile = await loadBody(
      'command: npx\ncwd: "${DIR}/x"\nenv: { A: "${DIR:-none}", B: "$${DIR}" }',
      {
        env: { DIR: "/srv" },
      },
    );

    expect(profile).toMatchObject({ cwd: "/srv/x", env: { A: "/srv", B: "${DIR}" }, variablesUsed: ["DIR"] });
  });

  it.each([
    ['command: "${NODE}"', "1:11: `${…}` is not expanded in `command`"],
    ['command: npx\nargs: ["a ${X}"]', "2:11: `${…}` is not expanded in `args`"],
    ['command: npx\nenv: { A: "x ${NOPE}" }', "2:14: the variable `NOPE` is not set"],
    ['command: npx\ncwd: "${NOPE}/x"', "2:7: the variable `NOPE` is not set"],
    ['command: npx\nenv: { A: "${DB_PASSWORD}" }', "2:12: `DB_PASSWORD` looks like a credential"],
  ])("%j are refused at their place", async (body, expected) => {
    const messages = await messagesOf(body);

    expect(messages).toHaveLength(1);
    expect(messages[0]).toContain(expected);
  });

  it("are literal in args behind a second dollar sign", async () => {
    expect((await loadBody('command: sh\nargs: ["-c", "echo $${HOME} $HOME"]')).args).toEqual([
      "-c",
      "echo ${HOME} $HOME",
    ]);
  });
});

describe("a name that carries a credential", () => {
  it.each([
    "TOKEN",
    "GITHUB_TOKEN",
    "npm_token",
    "CLIENT_SECRET",
    "VAULT_SECRET_ID",
    "DB_PASSWORD",
    "MYSQL_PWD",
    "PGPASSWORD",
    "OPENAI_API_KEY",
    "STRIPE_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "OP_SESSION_abc",
    "IDENTITY_HEADER",
    "MCP_RUN_AGE_KEY",
    "GH_PAT",
    "CI_JOB_JWT_V2",
  ])("is %s", (name) => {
    expect(carriesCredential(name)).toBe(true);
  });

  it.each([
    "HOME",
    "PWD",
    "OLDPWD",
    "VAULT_ADDR",
    "AWS_REGION",
    "AWS_PROFILE",
    "AZURE_CLIENT_ID",
    "MAX_TOKENS",
    "TOKENIZERS_PARALLELISM",
    "KEYBOARD",
    "MONKEY",
    "PATH",
    "PATTERN",
    "API_URL",
  ])("is not %s", (name) => {
    expect(carriesCredential(name)).toBe(false);
  });

  it("is something narrower where a literal is at stake", () => {
    expect(["API_KEY", "apiKey", "DB_PASSWORD", "TOKEN"].filter(namesOnlyCredentials)).toEqual([
      "API_KEY",
      "apiKey",
      "DB_PASSWORD",
      "TOKEN",
    ]);
    expect(["SORT_KEY", "TOKEN_FILE", "SECRET_NAME", "KEY"].filter(namesOnlyCredentials)).toEqual([]);
  });
});
