/** Which addresses are refused before anything is sent there. */
import { isLoopback } from "../../src/loopback.ts";

/** Why this can't be the address of a server, or undefined if it can. The text itself is not repeated. */
export function addressProblem(text: string): string | undefined {
  if (!URL.canParse(text)) return "write an address such as https://vault.example.com:8200";
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") return "an address begins with https://";
  if (url.username || url.password) return "an address holds no user name or password; those belong to auth:";
  if (url.search || url.hash) return "an address ends before any ? or #";
  if (url.protocol === "http:" && !isLoopback(url.hostname)) {
    return "an address begins with https://; http:// would show every secret to the network";
  }
  return undefined;
}
