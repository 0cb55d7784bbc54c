/** A certificate authority of a test's own, and a certificate of it for loopback: made anew, kept nowhere. */
import { generate } from "selfsigned";

export interface PrivateCa {
  /** The authority's certificate, PEM: what a client has to trust. */
  readonly ca: string;
  /** A server's key and certificate for localhost, *.localhost, 127.0.0.1 and ::1, PEM. */
  readonly key: string;
  readonly cert: string;
}

export async function privateCa(): Promise<PrivateCa> {
  const authority = await generate([{ name: "commonName", value: "mcp-run test authority" }], {
    keyType: "ec",
    algorithm: "sha256",
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, digitalSignature: true, critical: true },
    ],
  });
  const server = await generate([{ name: "commonName", value: "localhost" }], {
    keyType: "ec",
    algorithm: "sha256",
    ca: { key: authority.private, cert: authority.cert },
    extensions: [
      {
        name: "subjectAltName",
        altNames: [
          { type: 2, value: "localhost" },
          { type: 2, value: "*.localhost" },
          { type: 7, ip: "127.0.0.1" },
          { type: 7, ip: "::1" },
        ],
      },
    ],
  });
  return { ca: authority.cert, key: server.private, cert: server.cert };
}
