// A server for tests of the launcher that does what its arguments say, one after another:
//   say:TEXT      TEXT to stdout, \n read as a newline      complain:TEXT   TEXT to stderr
//   answer        answers each line of stdin that has an id; `answer:once` only the first
//   ignore:NAME   a signal that is ignored                  trap:NAME=CODE  a signal that prints, then exits
//   env:NAME      prints a variable as JSON                 args            prints the arguments as JSON
//   stay          until stdin ends                          stay:forever    whatever comes
//   spawn:sleep   a helper in the same group                hello           a first message
//   exit:CODE     die:SIGNAL
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const unescaped = (text) => text.replaceAll("\\n", "\n");
const notify = (method, params) =>
  process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", method, params })}\n`);
const actions = {
  hello: () => notify("up", { pid: process.pid }),
  say: (text) => process.stdout.write(unescaped(text)),
  complain: (text) => process.stderr.write(unescaped(text)),
  env: (name) => process.stdout.write(`${JSON.stringify(process.env[name] ?? null)}\n`),
  args: () => process.stdout.write(`${JSON.stringify(process.argv.slice(2))}\n`),
  ignore: (name) => process.on(name, () => undefined),
  trap: (text) => {
    const [name, code] = text.split("=");
    process.on(name, () => {
      process.stderr.write(`trapped ${name}\n`);
      process.exit(Number(code));
    });
  },
  answer: (how) => {
    let answered = 0;
    createInterface({ input: process.stdin }).on("line", (line) => {
      const { id } = JSON.parse(line);
      if (id === undefined || (how === "once" && answered++ > 0)) return;
      process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", id, result: {} })}\n`);
    });
  },
  stay: (how) => {
    if (how === "forever") setInterval(() => undefined, 60_000);
    process.stdin.resume();
  },
  spawn: () => {
    const helper = spawn("sleep", ["60"], { stdio: "ignore" });
    notify("up", { helper: helper.pid });
  },
  exit: (code) => process.exit(Number(code)),
  die: (signal) => process.kill(process.pid, signal),
};

for (const action of process.argv.slice(2)) {
  const [name, ...rest] = action.split(":");
  actions[name]?.(rest.join(":"));
}
