/**
 * What gives out tokens in Azure, on loopback: Entra's token endpoint over TLS, and the endpoint of a managed identity
 * as App Service has it, over plain http.
 */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { FAKE_TOKEN } from "../../helpers/fake-key-vault.ts";
import type { PrivateCa } from "../../helpers/private-ca.ts";

export interface TokenAnswer {
  readonly status: number;
  readonly body: object | string;
}

export class FakeEntra {
  /** `https://127.0.0.1:PORT`. */
  url = "";
  /** `http://127.0.0.1:PORT/msi/token`, for IDENTITY_ENDPOINT. */
  identityEndpoint = "";
  /** The forms that were posted for a token. */
  readonly forms: URLSearchParams[] = [];
  /** The headers of each request for a managed identity's token. */
  readonly identityRequests: { readonly query: URLSearchParams; readonly header: string | undefined }[] = [];
  /** What is answered to either. */
  answer: () => TokenAnswer = () => ({
    status: 200,
    body: {
      token_type: "Bearer",
      access_token: FAKE_TOKEN,
      expires_in: 3599,
      expires_on: String(Math.floor(Date.now() / 1000) + 3599),
      resource: "https://vault.azure.net",
    },
  });
  readonly #servers: Server[] = [];

  static async start({ key, cert }: PrivateCa): Promise<FakeEntra> {
    const entra = new FakeEntra();
    const tls = createServer({ key, cert }, (request, response) => void entra.#serve(request, response));
    const plain = createHttpServer((request, response) => entra.#serveIdentity(request, response));
    entra.#servers.push(tls, plain);
    entra.url = `https://127.0.0.1:${await listen(tls)}`;
    entra.identityEndpoint = `http://127.0.0.1:${await listen(plain)}/msi/token`;
    return entra;
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const [, tenant] = (request.url ?? "").split("/");
    if (request.url?.includes(".well-known/openid-configuration")) {
      const base = `${this.url}/${tenant}`;
      send(response, {
        status: 200,
        body: {
          issuer: `${base}/v2.0`,
          token_endpoint: `${base}/oauth2/v2.0/token`,
          authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
          jwks_uri: `${base}/discovery/v2.0/keys`,
        },
      });
      return;
    }
    this.forms.push(new URLSearchParams(Buffer.concat(chunks).toString()));
    send(response, this.answer());
  }

  #serveIdentity(request: IncomingMessage, response: ServerResponse): void {
    const query = new URL(request.url ?? "", "http://localhost").searchParams;
    this.identityRequests.push({ query, header: request.headers["x-identity-header"] as string | undefined });
    send(response, this.answer());
  }
}

/** A refusal as Entra words it; the sentence is one that must not be repeated. */
export function entraRefusal(status: number, error: string, code: number): TokenAnswer {
  return {
    status,
    body: {
      error,
      error_description: `AADSTS${code}: canary-description of app canary-client. Trace ID: canary-trace`,
      error_codes: [code],
      trace_id: "canary-trace",
      correlation_id: "canary-correlation",
    },
  };
}

function send(response: ServerResponse, { status, body }: TokenAnswer): void {
  const isText = typeof body === "string";
  response.writeHead(status, { "content-type": isText ? "text/html" : "application/json" });
  response.end(isText ? body : JSON.stringify(body));
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}
