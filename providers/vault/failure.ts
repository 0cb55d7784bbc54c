/**
 * What went wrong, in our own words: from a status, an error code and which of Vault's known sentences the answer holds.
 * Nothing that the server said is quoted, since a refusal can repeat what it was sent.
 */
import { type McpRunErrorOptions, ProviderError } from "../../src/errors.ts";
import type { Answer, NoAnswer } from "./exchange.ts";
import { errorsIn } from "./retry.ts";

const ANOTHER_ADDRESS = "another address: (or VAULT_ADDR); a proxy or login page may stand in between";

/** What was asked for, as far as messages need it. */
export interface Asked {
  /** The API path, as a policy names it: `mcp/data/github`. */
  readonly path: string;
  /** `write` is for a path that may not be there yet. */
  readonly capability: "read" | "list" | "write" | "update" | "delete";
}

/** No answer at all: no other request would get one just now. */
export class OutOfReach extends ProviderError {
  constructor(reason: string, options: McpRunErrorOptions) {
    super("unavailable", reason, options);
  }
}

/** The server could not be reached, or broke off. */
export function noAnswerError({ code }: NoAnswer, url: string): OutOfReach {
  if (/^(DEPTH_ZERO_|SELF_SIGNED|UNABLE_TO_|CERT_SIGNATURE_|CERT_UNTRUSTED)/.test(code)) {
    return new ProviderError(
      "unavailable",
      `the certificate of ${url} is signed by nobody we trust (${code})`,
      {
        hint: "caCert: with the PEM file of the authority that signed it",
      },
    );
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return new OutOfReach(`the certificate of ${url} is for another name (${code})`, {
      hint: "an address: with a name that the certificate holds",
    });
  }
  if (/^CERT_/.test(code)) {
    return new OutOfReach(`the certificate of ${url} is not valid (${code})`, {
      hint: "a look at its dates, and at this machine's clock",
    });
  }
  if (/^(EPROTO|ERR_SSL_.*|ERR_TLS_.*)$/.test(code)) {
    return new OutOfReach(`no TLS connection to ${url} (${code})`, {
      hint: "http:// if the server on this machine has no TLS, or another port",
    });
  }
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return new OutOfReach(`the name in ${url} is not known (${code})`, {
      hint: "another address: (or VAULT_ADDR), or the VPN that knows the name",
    });
  }
  if (code === "TIMEOUT" || code === "ETIMEDOUT") {
    return new OutOfReach(`no answer from ${url} in time (${code})`, {
      hint: "the VPN or firewall between here and there",
    });
  }
  if (code === "TOO_LARGE") {
    return new OutOfReach(`the answer of ${url} is larger than we take`, {
      hint: "a smaller secret, or another address:",
    });
  }
  if (code.startsWith("HPE_"))
    return new OutOfReach(`what ${url} says is not HTTP (${code})`, { hint: ANOTHER_ADDRESS });
  return new OutOfReach(`no connection to ${url} (${code})`, {
    hint: "another address: (or VAULT_ADDR), or a look whether the server runs",
  });
}

/** The server refused. For every status that is no success; 404 too, unless the caller knows better. */
export function refusalError(answer: Answer, { path, capability }: Asked, url: string): ProviderError {
  const { status } = answer;
  const errors = errorsIn(answer.json);
  const says = (words: RegExp) => errors.some((text) => words.test(text));
  if (status >= 300 && status < 400) {
    return new ProviderError("unavailable", `${url} sends us elsewhere (${status}), which is not followed`, {
      hint: "the address of the active node, or of the load balancer",
    });
  }
  if (status === 403) {
    const rights = capability === "write" ? '"create", "update"' : `"${capability}"`;
    return new ProviderError("denied", `permission denied (403) to ${capability} ${path}`, {
      hint: `a policy with path "${path}" { capabilities = [${rights}] }, or another namespace:`,
    });
  }
  if (isAboutNamespace(answer)) {
    return new ProviderError("invalid", `there is no such namespace (${status})`, {
      hint: "another namespace: in the settings, or none",
    });
  }
  if (status === 404 && answer.json) return nothingThere(says(/no handler for route/i), path);
  if (status === 405 || says(/unsupported operation/i)) {
    return new ProviderError("invalid", `${path} can't be read that way (${status})`, {
      hint: "a path that holds a value; what an engine makes by a write, such as PKI, is not supported",
    });
  }
  if (status === 429) {
    return new ProviderError("unavailable", `too many requests (429)${pauseIn(answer)}`, {
      hint: "again later; a rate limit quota of the server may be too small",
    });
  }
  if (status === 472 || status === 473 || says(/standby|DR secondary/i)) {
    return new ProviderError("unavailable", `${url} is a standby (${status})`, {
      hint: "the address of the active node, or of the load balancer",
    });
  }
  if (says(/sealed/i)) {
    return new ProviderError("unavailable", `${url} is sealed (${status})`, {
      hint: "`vault operator unseal` by those who hold its keys",
    });
  }
  if (says(/not initialized/i)) {
    return new ProviderError("unavailable", `${url} was never initialized (${status})`, {
      hint: "`vault operator init`",
    });
  }
  if (status === 413 || says(/too large/i)) {
    return new ProviderError("invalid", `the value is larger than the server takes (${status})`, {
      hint: "a smaller value; with the usual storage a secret has less than 1 MiB",
    });
  }
  if (says(/upgrading from non-versioned/i)) {
    return new ProviderError("unavailable", `the mount is being upgraded to KV version 2 (${status})`, {
      hint: "again in a minute",
    });
  }
  if (status >= 500) {
    return new ProviderError("unavailable", `${url} failed (${status})${pauseIn(answer)}`, {
      hint: `again later, or \`vault read ${path}\` and the server's log for its words`,
    });
  }
  if (!answer.json) return notVault(`${url} does not answer as Vault does (${status}${mediaType(answer)})`);
  return new ProviderError("invalid", `the request was refused (${status})`, {
    hint: `\`vault read ${path}\`, which shows the server's own words`,
  });
}

/** The namespace in our header is none of the server's; whatever was asked for was not looked at. */
export function isAboutNamespace({ status, json }: Answer): boolean {
  return (status === 400 || status === 404) && errorsIn(json).some((text) => /namespace/i.test(text));
}

/** A success without what belongs into it. */
export function strangeAnswer(answer: Answer, url: string): ProviderError {
  if (answer.json) return notVault(`the answer of ${url} has another form than Vault's (${answer.status})`);
  return notVault(`${url} does not answer as Vault does (${answer.status}${mediaType(answer)})`);
}

function notVault(reason: string): ProviderError {
  return new ProviderError("invalid", reason, { hint: ANOTHER_ADDRESS });
}

function nothingThere(isNoMount: boolean, path: string): ProviderError {
  if (!isNoMount) return new ProviderError("missing", `there is no ${path} (404)`);
  // Of the path only its head: what follows may be the API's, and not what somebody has written.
  return new ProviderError("missing", `no secrets engine is mounted at ${path.split("/", 1)[0]}/ (404)`, {
    hint: "`vault secrets list` for the mounts, or another namespace: in the settings",
  });
}

function pauseIn({ retryAfterMs }: Answer): string {
  return retryAfterMs === undefined ? "" : `; it asks for a pause of ${retryAfterMs / 1000} s`;
}

function mediaType({ contentType }: Answer): string {
  // The server's own text: only a plain media type is repeated.
  return /^[a-z]+\/[a-z0-9.+-]{1,40}$/.test(contentType) ? `, ${contentType}` : "";
}
