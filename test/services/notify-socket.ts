/**
 * A receiver of sd_notify(3) messages that is not systemd: Node has no datagram sockets of this family, so Python
 * listens. What it gets comes out line by line; a barrier is let go at once, as systemd does.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { until } from "../helpers/processes.ts";

const RECEIVER = `
import os, socket, sys
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind(sys.argv[1])
while True:
    data, fds, _flags, _from = socket.recv_fds(receiver, 4096, 8)
    for fd in fds: os.close(fd)
    sys.stdout.write(data.decode().replace("\\n", " | ") + "\\n")
    sys.stdout.flush()
`;

export interface NotifySocket {
  readonly path: string;
  /** The messages so far but for barriers; the words of one are separated by ` | `. */
  readonly messages: () => readonly string[];
  close(): void;
}

export async function notifySocket(path: string): Promise<NotifySocket> {
  const python: ChildProcess = spawn("python3", ["-c", RECEIVER, path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  python.stdout?.on("data", (chunk: Buffer) => {
    text += chunk;
  });
  await until("the receiver listens", () => existsSync(path));
  const messages = () => text.split("\n").filter((line) => line !== "" && line !== "BARRIER=1");
  return { path, messages, close: () => void python.kill("SIGKILL") };
}
