/** What can go wrong between us and a host, before there is an answer: each with the system's own code. */
import { ProviderError, systemErrorCode } from "../../src/errors.ts";
import { AzureError } from "./azure-error.ts";

const CODE = /^[A-Z][A-Z0-9_]{1,63}$/;

/** Nobody that we know vouches for the certificate, in OpenSSL's words. */
const UNTRUSTED: ReadonlySet<string> = new Set([
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "CERT_SIGNATURE_FAILURE",
  "CERT_UNTRUSTED",
]);

/** @param peer the host that was asked */
export function connectionFailure(error: unknown, peer: string): ProviderError {
  if (error instanceof ProviderError) return error;
  const found = systemErrorCode(error) ?? "";
  const code = CODE.test(found) ? found : "no code";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return new AzureError("unavailable", `there is no host ${peer} (${code})`, {
      hint: "the address in the provider's settings, or the network",
      isTransient: code === "EAI_AGAIN",
    });
  }
  if (UNTRUSTED.has(code)) {
    return new AzureError("unavailable", `the certificate of ${peer} is not trusted (${code})`, {
      hint: "caCert: in the provider's settings, with the authority's certificate as PEM",
    });
  }
  if (code.startsWith("CERT_") || code.startsWith("ERR_TLS_") || code.startsWith("ERR_SSL_")) {
    return new AzureError("unavailable", `${peer} can't be spoken to over TLS (${code})`, {
      hint: "the address in the provider's settings, or the certificate of that host",
    });
  }
  if (code === "ECONNREFUSED" || code.endsWith("UNREACH")) {
    return new AzureError("unavailable", `${peer} takes no connection (${code})`, {
      hint: "the address in the provider's settings, the network, or HTTPS_PROXY",
      isTransient: true,
    });
  }
  return brokenOff(peer, code);
}

export function brokenOff(peer: string, code: string): AzureError {
  return new AzureError("unavailable", `the connection to ${peer} broke off (${code})`, {
    hint: "again",
    isTransient: true,
  });
}

/** @param ms how long it was waited for */
export function noAnswer(peer: string, ms: number): AzureError {
  return new AzureError("unavailable", `no answer from ${peer} within ${ms / 1000} s`, { hint: "again" });
}

/** An answer that is none of the service's own: a proxy's error page, a portal that wants a login. */
export function foreignAnswer(peer: string, status: number, contentType: string | undefined): AzureError {
  const type = /^[\w.+-]{1,40}\/[\w.+-]{1,40}/.exec(contentType ?? "")?.[0] ?? "something";
  return new AzureError("invalid", `${peer} answered with ${type} that is not its JSON (${status})`, {
    hint: "the address in the provider's settings, or a proxy on the way that answers in its place",
    statusCode: status,
  });
}

export function redirected(peer: string, status: number): AzureError {
  return new AzureError("unavailable", `${peer} sends us elsewhere (${status}), which is not followed`, {
    hint: "the address in the provider's settings",
    statusCode: status,
  });
}

export function proxyWantsLogin(): AzureError {
  return new AzureError("denied", "the proxy on the way wants a login (407)", {
    hint: "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT",
    statusCode: 407,
  });
}
