import { describe, expect, it } from "vitest";
import { adviseOnContainer } from "../../src/launch/container-advice.ts";

const advise = (line: string, secretNames: string[] = ["TOKEN"]) => {
  const [command = "", ...args] = line.split(" ");
  return adviseOnContainer(command, args, secretNames).map(({ severity, hint }) => `${severity}: ${hint}`);
};

describe("advice on a server in a container", () => {
  it.each([
    ["docker run -i --rm --init -e TOKEN img", []],
    ["podman run --interactive --rm --init --env TOKEN img", []],
    ["npx server", []],
    ["docker run --rm --init -e TOKEN img", ["error: `-i` after `run`"]],
    ["docker run -i=false --rm --init -e TOKEN img", ["error: `-i` after `run`"]],
    ["docker run -it --rm --init -e TOKEN img", ["error: `-i` without `-t`"]],
    ["docker run -i -d --rm --init -e TOKEN img", ["error: `run` without `-d`"]],
    ["docker run -i --init -e TOKEN img", ["warning: `--rm` after `run`"]],
    ["docker run -i --rm -e TOKEN img", ["warning: `--init` after `run`"]],
    ["docker run -i --rm --init img", ["error: `-e TOKEN` after `run`"]],
    ["docker run -i --rm --init img -e TOKEN", ["error: `-e TOKEN` after `run`"]],
    ["docker run -i --rm --init -e TOKEN=x img", ["error: `-e TOKEN`"]],
    ["docker run -i --rm --init -e TOKEN -e LOG=debug img", []],
    ["docker run -i --rm --init -e TOKEN", ["error: the image's name after the options"]],
  ])("%s", (line, expected) => {
    expect(advise(line)).toEqual(expected);
  });

  it("never repeats a value", () => {
    const [first] = adviseOnContainer(
      "docker",
      ["run", "-i", "--rm", "--init", "-e", "TOKEN=canary-3c", "img"],
      ["TOKEN"],
    );

    expect(JSON.stringify(first)).not.toContain("canary");
  });
});
