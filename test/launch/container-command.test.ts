import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { parseContainerRun } from "../../src/launch/container-command.ts";

const read = (line: string) => {
  const [command = "", ...args] = line.split(" ");
  return parseContainerRun(command, args);
};

describe("a command line of a container engine", () => {
  it.each([
    ["docker run -i --rm -e TOKEN img", { globalArgs: [], afterRun: 1, image: "img" }],
    ["/usr/bin/docker run img --rm", { globalArgs: [], afterRun: 1, image: "img", options: [] }],
    ["docker.exe run img", { engine: "docker", image: "img" }],
    ["C:\\bin\\docker.exe run img", { engine: "docker", image: "img" }],
    ["podman run img", { engine: "podman", image: "img" }],
    ["docker container run -i img", { globalArgs: [], afterRun: 2, image: "img" }],
    ["docker --context x run img", { globalArgs: ["--context", "x"], afterRun: 3 }],
    ["docker -c x -H tcp://h run img", { globalArgs: ["-c", "x", "-H", "tcp://h"], afterRun: 5 }],
    [
      "docker -D --tls --log-level=debug run img",
      { globalArgs: ["-D", "--tls", "--log-level=debug"], afterRun: 4 },
    ],
    ["podman --remote --url ssh://h run img", { globalArgs: ["--remote", "--url", "ssh://h"], afterRun: 4 }],
    ["docker run -- img -i", { image: "img", options: [] }],
    ["docker run -i", { image: undefined }],
    ["docker run --cidfile /tmp/x img", { cidFile: "/tmp/x" }],
    ["docker run --cidfile=/tmp/x img", { cidFile: "/tmp/x" }],
  ])("%s", (line, expected) => {
    expect(read(line)).toMatchObject(expected);
  });

  it.each([
    [
      "docker run -it img",
      [
        ["interactive", "true"],
        ["tty", "true"],
      ],
    ],
    [
      "docker run -ite TOKEN img",
      [
        ["interactive", "true"],
        ["tty", "true"],
        ["env", "TOKEN"],
      ],
    ],
    [
      "docker run -eTOKEN -e=A=b img",
      [
        ["env", "TOKEN"],
        ["env", "A=b"],
      ],
    ],
    [
      "docker run --env A=b=c --env=D img",
      [
        ["env", "A=b=c"],
        ["env", "D"],
      ],
    ],
    [
      "docker run --rm=false -i=false img",
      [
        ["rm", "false"],
        ["interactive", "false"],
      ],
    ],
    [
      "docker run --network host --name run img",
      [
        ["network", "host"],
        ["name", "run"],
      ],
    ],
    [
      "docker run -v /a:/b --init --pull always img",
      [
        ["v", "/a:/b"],
        ["init", "true"],
        ["pull", "always"],
      ],
    ],
  ])("has the options that the engine sees: %s", (line, options) => {
    const run = read(line);

    expect(run?.options).toEqual(options);
    expect(run?.image).toBe("img");
  });

  it.each([
    "node server.js",
    "docker ps",
    "docker",
    "docker exec run",
    "docker compose run img",
    "run docker",
    "dockerd run x",
  ])("is no `run`: %s", (line) => {
    expect(read(line)).toBeUndefined();
  });
});

const help = spawnSync("docker", ["run", "--help"], { encoding: "utf8" });

describe.skipIf(help.error || help.status !== 0)("the options without a value", () => {
  it("are those of the docker on this machine", () => {
    const listed = [...help.stdout.matchAll(/^ {2}(?:-(\w), | {4})--([\w-]+)( ?)(\S*)/gm)];
    const flags = listed.filter(([, , , , type]) => type === "").map(([, , name]) => name as string);
    const withValue = listed.filter(([, , , , type]) => type !== "").map(([, , name]) => name as string);
    expect(flags).toContain("rm");
    expect(withValue).toContain("volume");

    for (const flag of flags) expect([flag, read(`docker run --${flag} img`)?.image]).toEqual([flag, "img"]);
    for (const name of withValue)
      expect([name, read(`docker run --${name} value img`)?.image]).toEqual([name, "img"]);
  });
});
