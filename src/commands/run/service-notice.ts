/**
 * Says how a server does to whoever started mcp-run as a service and wants to be told (NOTIFY_SOCKET). Without that
 * variable nothing is loaded and nothing happens. Nothing here throws or rejects, and no start waits for it.
 */
import { systemErrorCode } from "../../errors.ts";
import type { NoticeOptions, Systemd } from "./systemd.ts";

export interface ServiceNotice {
  /** A server has been started. */
  runs(): void;
  /** No other server is to be started. */
  stopping(): void;
  close(): Promise<void>;
}

const NOBODY: ServiceNotice = {
  runs: () => undefined,
  stopping: () => undefined,
  close: async () => undefined,
};

export function serviceNotice(options: NoticeOptions): ServiceNotice {
  if (!options.context.env.NOTIFY_SOCKET) return NOBODY;
  const loading = load(options);
  return {
    runs: () => void loading.then((systemd) => systemd?.runs()),
    stopping: () => void loading.then((systemd) => systemd?.stopping()),
    close: async () => (await loading)?.close(),
  };
}

async function load(options: NoticeOptions): Promise<Systemd | undefined> {
  try {
    const { Systemd } = await import("./systemd.ts");
    return new Systemd(options);
  } catch (error) {
    const reason = systemErrorCode(error) ?? "a bug in mcp-run";
    const message = `systemd is not told how ${options.profile.name} does: ${reason}`;
    options.context.printer.emit({ type: "warning", message });
    return undefined;
  }
}
