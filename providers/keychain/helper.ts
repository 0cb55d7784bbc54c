/** The helper program: one request on stdin, its reply on stdout, nothing else. See protocol.ts. */
import { readFileSync, writeFileSync } from "node:fs";
import { answer } from "./answer.ts";
import type { HelperReply, HelperRequest } from "./protocol.ts";

const STDIN = 0;
const STDOUT = 1;

async function reply(request: HelperRequest): Promise<HelperReply> {
  const library = await import("@napi-rs/keyring").catch(() => undefined);
  return library ? answer(library, request) : { type: "trouble", trouble: "no-library" };
}

void reply(JSON.parse(readFileSync(STDIN, "utf8"))).then((answered) => {
  writeFileSync(STDOUT, JSON.stringify(answered));
});
