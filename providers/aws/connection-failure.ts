/** Why there was no answer at all: the network, TLS, or a time limit of ours. */
import { systemErrorCode } from "../../src/errors.ts";
import { AwsError, type Surroundings } from "./aws-error.ts";

const NO_HOST = ["ENOTFOUND", "EAI_AGAIN", "ERR_INVALID_URL"];
const TLS_CODES =
  /^(?:CERT_|ERR_TLS_|ERR_SSL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH|EPROTO$)/;

/** @param error of Node or of the SDK's handler; only its code is repeated */
export function connectionFailure(error: unknown, { region, endpoint }: Surroundings): AwsError {
  const where = endpoint ?? `Secrets Manager in ${region}`;
  const code = systemErrorCode(error) ?? "";
  const { name } = error as { readonly name?: unknown };
  if (NO_HOST.includes(code)) {
    return new AwsError("unavailable", `no host answers to the name of ${where} (${code})`, {
      hint:
        endpoint === undefined
          ? "the region as AWS writes it, such as eu-west-1, or the connection to the network"
          : "endpoint: in the settings (or AWS_ENDPOINT_URL), or the connection to the network",
      awsCode: code,
    });
  }
  if (TLS_CODES.test(code)) {
    return new AwsError("unavailable", `the certificate of ${where} can't be trusted (${code})`, {
      hint: "caCert with your company's authority, if a proxy opens TLS connections",
      awsCode: code,
    });
  }
  if (name === "TimeoutError" || name === "AbortError" || code === "ETIMEDOUT") {
    return new AwsError("unavailable", `${where} did not answer in time`, {
      hint: "the endpoint, the proxy or the firewall on the way",
      isPassing: true,
      awsCode: "TimeoutError",
    });
  }
  if (code === "ECONNREFUSED") {
    return new AwsError(
      "unavailable",
      `the connection to ${where} is refused: nobody listens there (${code})`,
      {
        hint: "endpoint: in the settings (or AWS_ENDPOINT_URL), and its port",
        isPassing: true,
        awsCode: code,
      },
    );
  }
  return new AwsError("unavailable", `the connection to ${where} failed${code && ` (${code})`}`, {
    hint: "the endpoint, the proxy or the firewall on the way",
    isPassing: true,
    awsCode: code || undefined,
  });
}
