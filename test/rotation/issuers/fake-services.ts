/**
 * Services that issue keys, on loopback: as much of their interfaces as the hooks of docs/hooks use, in the form that
 * the vendors' documentation gives. Who does not show an administrator's token is refused; each minted key is another.
 */
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

export const ADMIN = "canary-administrator";

export interface Key {
  readonly id: string;
  readonly name: string;
  readonly value: string;
  isAccepted: boolean;
}

export interface FakeService {
  readonly url: string;
  /** In the order in which they were made. */
  readonly keys: Key[];
  /** Every request, as `METHOD path`. */
  readonly requests: string[];
  /** From here on every request is answered so. */
  failWith(status: number): void;
  add(name: string): Key;
  close(): Promise<void>;
}

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  readonly service: FakeService;
}

interface Answered {
  readonly status: number;
  readonly body?: unknown;
}

type Answer = (asked: Asked) => Answered;

async function start(answer: Answer, idOf: (index: number) => string): Promise<FakeService> {
  let failure: number | undefined;
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? "/", "http://127.0.0.1");
    const { method = "GET", headers } = request;
    service.requests.push(`${method} ${decodeURIComponent(url.pathname)}`);
    const body = await text(request);
    const asked = { method, path: url.pathname, query: url.searchParams, headers, body, service };
    // What a service says of a failure may hold what it was told.
    const said: Answered =
      failure === undefined ? answer(asked) : { status: failure, body: { echo: headers } };
    const isText = typeof said.body === "string";
    response.writeHead(said.status, { location: "/elsewhere" });
    response.end(
      said.body === undefined || isText ? (said.body as string | undefined) : JSON.stringify(said.body),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const service: FakeService = {
    url: `http://127.0.0.1:${port}`,
    keys: [],
    requests: [],
    failWith: (status) => {
      failure = status;
    },
    add(name) {
      const value = `canary-${randomBytes(12).toString("hex")}`;
      const key = { id: idOf(service.keys.length + 1), name, value, isAccepted: true };
      service.keys.push(key);
      return key;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return service;
}

function bearer({ headers }: Asked): string {
  return (headers.authorization ?? "").replace(/^Bearer /, "");
}

function ofLastStep({ path, service }: Asked): Key | undefined {
  return service.keys.find(({ id, isAccepted }) => path.endsWith(`/${id}`) && isAccepted);
}

export function fakeGrafana(): Promise<FakeService> {
  return start(
    (asked) => {
      const { method, path, body, service } = asked;
      const token = bearer(asked);
      if (path === "/api/org")
        return {
          status: service.keys.some(({ value, isAccepted }) => value === token && isAccepted) ? 403 : 401,
        };
      if (token !== ADMIN) return { status: 401 };
      if (!path.startsWith("/api/serviceaccounts/7/tokens")) return { status: 404 };
      if (method === "POST") {
        const { id, name, value } = service.add(JSON.parse(body).name);
        return { status: 200, body: { id: Number(id), name, key: value } };
      }
      const there = service.keys.filter(({ isAccepted }) => isAccepted);
      if (method === "GET")
        return {
          status: 200,
          body: there.map(({ id, name }) => ({ id: Number(id), name, expiration: null, hasExpired: false })),
        };
      const key = ofLastStep(asked);
      if (!key) return { status: 404 };
      key.isAccepted = false;
      return { status: 200, body: { message: "API key deleted" } };
    },
    (index) => String(index),
  );
}

export function fakeGitLab(): Promise<FakeService> {
  const shown = ({ id, name, isAccepted }: Key) => ({
    id: Number(id),
    name,
    active: isAccepted,
    revoked: !isAccepted,
  });
  return start(
    (asked) => {
      const { method, path, query, headers, body, service } = asked;
      const token = headers["private-token"];
      if (path === "/api/v4/personal_access_tokens/self") {
        const own = service.keys.find(({ value, isAccepted }) => value === token && isAccepted);
        return own
          ? { status: 200, body: shown(own) }
          : { status: 401, body: { message: "401 Unauthorized" } };
      }
      if (token !== ADMIN) return { status: 401 };
      if (!path.startsWith("/api/v4/projects/group%2Fproject/access_tokens")) return { status: 404 };
      if (method === "POST") {
        const wanted = JSON.parse(body);
        const isRight =
          Array.isArray(wanted.scopes) &&
          Number.isInteger(wanted.access_level) &&
          /^\d{4}-\d\d-\d\d$/.test(wanted.expires_at);
        if (!isRight) return { status: 400 };
        const key = service.add(wanted.name);
        return { status: 201, body: { ...shown(key), token: key.value } };
      }
      if (method === "GET" && path.endsWith("/access_tokens")) {
        const found = service.keys.filter(
          ({ name, isAccepted }) => name.includes(query.get("search") ?? "") && isAccepted,
        );
        return { status: 200, body: found.map(shown) };
      }
      const key = service.keys.find(({ id }) => path.endsWith(`/${id}`));
      if (!key) return { status: 404 };
      if (method === "GET") return { status: 200, body: shown(key) };
      if (!key.isAccepted) return { status: 400 };
      key.isAccepted = false;
      return { status: 204 };
    },
    (index) => String(40 + index),
  );
}

export function fakeCloudflare(): Promise<FakeService> {
  const details = ({ id, name, isAccepted }: Key) => ({
    id,
    name,
    status: isAccepted ? "active" : "disabled",
    issued_on: new Date(Date.UTC(2027, 0, Number.parseInt(id, 16))).toISOString(),
    policies: [
      {
        id: "policy-1",
        effect: "allow",
        resources: { "com.cloudflare.api.account.zone.1": "*" },
        permission_groups: [{ id: "group-1", name: "DNS Write", meta: {} }],
      },
    ],
    condition: { request_ip: { in: ["192.0.2.0/24"] } },
    ...(name === "expiring" && { expires_on: new Date(Date.UTC(2027, 0, 91)).toISOString() }),
  });
  const well = (result: unknown): Answered => ({
    status: 200,
    body: { success: true, errors: [], messages: [], result },
  });
  const badly = (status: number, code: number): Answered => ({
    status,
    body: { success: false, errors: [{ code }], messages: [], result: null },
  });
  return start(
    (asked) => {
      const { method, path, query, body, service } = asked;
      const token = bearer(asked);
      const there = service.keys.filter(({ isAccepted }) => isAccepted);
      if (path === "/user/tokens/verify") {
        const own = there.find(({ value }) => value === token);
        return own ? well({ id: own.id, status: "active" }) : badly(401, 1000);
      }
      if (token !== ADMIN) return badly(401, 1000);
      if (path === "/user/tokens" && method === "GET") {
        const [page, size] = [Number(query.get("page")), Number(query.get("per_page"))];
        return well(there.slice((page - 1) * size, page * size).map(details));
      }
      if (path === "/user/tokens" && method === "POST") {
        const wanted = JSON.parse(body);
        const [policy] = wanted.policies;
        const isRight =
          JSON.stringify(policy.permission_groups) === '[{"id":"group-1"}]' &&
          policy.id === undefined &&
          wanted.condition.request_ip.in.length === 1;
        if (!isRight) return badly(400, 400);
        const key = service.add(wanted.name);
        return well({ ...details(key), expires_on: wanted.expires_on, value: key.value });
      }
      const key = ofLastStep(asked);
      if (!key) return badly(404, 1003);
      if (method === "GET") return well(details(key));
      key.isAccepted = false;
      return well({ id: key.id });
    },
    (index) => index.toString(16).padStart(32, "0"),
  );
}

/** Access keys of one user, who can have two; made inactive, one is refused, and deleted, one is not listed. */
export async function fakeIam(): Promise<FakeService> {
  const deleted = new Set<string>();
  let tag = "";
  const xml = (action: string, result: string): Answered => ({
    status: 200,
    body: `<${action}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><${action}Result>${result}</${action}Result></${action}Response>`,
  });
  const element = ({ id, isAccepted }: Key) =>
    `<UserName>mcp-server</UserName><AccessKeyId>${id}</AccessKeyId><Status>${isAccepted ? "Active" : "Inactive"}</Status>`;
  return start(
    ({ headers, body, service }) => {
      const form = new URLSearchParams(body);
      const isSigned =
        /^AWS4-HMAC-SHA256 Credential=AKIAADMIN\/\d{8}\/us-east-1\/iam\/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=[0-9a-f]{64}$/.test(
          headers.authorization ?? "",
        ) && /^\d{8}T\d{6}Z$/.test(String(headers["x-amz-date"]));
      if (!isSigned || form.get("UserName") !== "mcp-server")
        return {
          status: 403,
          body: "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>",
        };
      const action = form.get("Action") ?? "";
      service.requests.push(action);
      const listed = service.keys.filter(({ id }) => !deleted.has(id));
      const key = listed.find(({ id }) => id === form.get("AccessKeyId"));
      switch (action) {
        case "ListAccessKeys":
          return xml(
            action,
            `<AccessKeyMetadata>${listed.map((one) => `<member>${element(one)}</member>`).join("")}</AccessKeyMetadata>`,
          );
        case "ListUserTags":
          return xml(
            action,
            `<Tags><member><Key>team</Key><Value>platform</Value></member>${tag && `<member><Key>mcp-run-rotation</Key><Value>${tag}</Value></member>`}</Tags>`,
          );
        case "TagUser":
          tag = form.get("Tags.member.1.Value") ?? "";
          return xml(action, "");
        case "CreateAccessKey": {
          if (listed.length > 1)
            return {
              status: 409,
              body: "<ErrorResponse><Error><Code>LimitExceeded</Code></Error></ErrorResponse>",
            };
          const made = service.add("");
          return xml(
            action,
            `<AccessKey>${element(made)}<SecretAccessKey>${made.value}</SecretAccessKey></AccessKey>`,
          );
        }
        case "UpdateAccessKey":
        case "DeleteAccessKey":
          if (!key)
            return {
              status: 404,
              body: "<ErrorResponse><Error><Code>NoSuchEntity</Code></Error></ErrorResponse>",
            };
          key.isAccepted = action === "UpdateAccessKey" && form.get("Status") === "Active";
          if (action === "DeleteAccessKey") deleted.add(key.id);
          return xml(action, "");
        default:
          return {
            status: 400,
            body: "<ErrorResponse><Error><Code>InvalidAction</Code></Error></ErrorResponse>",
          };
      }
    },
    (index) => `AKIAEXAMPLE${index}`,
  );
}
