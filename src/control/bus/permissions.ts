/**
 * What a host and an operator have to be allowed on the bus, and not a subject more: a host hears of its own secrets,
 * and reports for itself. As data, and as the lines of a nats-server configuration.
 */
import { BUCKET_STREAM, hostInbox, hostToken, OPERATOR_INBOX, REPORTS_STREAM, subjects } from "./names.ts";

/** What nats-server calls `permissions` of a user. */
export interface Permissions {
  readonly publish: { readonly allow: readonly string[] };
  readonly subscribe: { readonly allow: readonly string[] };
}

/** @param keys busKey of each secret that its profiles use */
export function hostPermissions(host: string, keys: readonly string[]): Permissions {
  const each = [...new Set(keys)].sort();
  return {
    publish: { allow: [subjects.report(host, "*"), ...each.map(subjects.stored)] },
    subscribe: {
      allow: [
        ...each.flatMap((key) => [subjects.entry(key), subjects.call(key)]),
        subjects.callAll,
        `${hostInbox(host)}.>`,
      ],
    },
  };
}

/** For `fleet setup`, `status --fleet` and `rotate`. */
export function operatorPermissions(): Permissions {
  const streams = [BUCKET_STREAM, REPORTS_STREAM];
  return {
    publish: {
      allow: [
        subjects.put("*"),
        subjects.stored("*"),
        subjects.callAll,
        subjects.call("*"),
        ...["INFO", "CREATE", "UPDATE"].flatMap((verb) =>
          streams.map((stream) => `$JS.API.STREAM.${verb}.${stream}`),
        ),
        `$JS.API.CONSUMER.CREATE.${REPORTS_STREAM}.>`,
        `$JS.API.CONSUMER.INFO.${REPORTS_STREAM}.*`,
        `$JS.API.CONSUMER.DELETE.${REPORTS_STREAM}.*`,
        `$JS.API.CONSUMER.MSG.NEXT.${REPORTS_STREAM}.*`,
      ],
    },
    subscribe: { allow: [subjects.anyReport, `${OPERATOR_INBOX}.>`] },
  };
}

/** One permission a line, in the language of a nats-server's configuration, for within the braces of a user. */
export function permissionsBlock({ publish, subscribe }: Permissions): string {
  const list = (allow: readonly string[]) =>
    `{\n    allow: [\n${allow.map((subject) => `      ${JSON.stringify(subject)}`).join("\n")}\n    ]\n  }`;
  return `permissions: {\n  publish: ${list(publish.allow)}\n  subscribe: ${list(subscribe.allow)}\n}`;
}

/** The arguments of `nsc add user` (or `edit user`), for accounts whose users are JWTs. */
export function nscArguments(name: string, { publish, subscribe }: Permissions): readonly string[] {
  return ["--name", name, "--allow-pub", publish.allow.join(","), "--allow-sub", subscribe.allow.join(",")];
}

/** A name for the host's user in a server's configuration or an account. */
export function hostUser(host: string): string {
  return `mcp-run-${hostToken(host)}`;
}
