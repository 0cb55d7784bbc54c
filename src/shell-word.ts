/** Words of command lines, as people read them. */
import { basename } from "node:path";

/** A word as a shell takes it, so that the command in a hint can be pasted. A leading `~/` keeps its meaning. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./~-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** What people call a program; of a script that an interpreter is told to run, the script. */
export function programName([program, script]: readonly [string, ...string[]]): string {
  const name = basename(program);
  const isInterpreter = /^(?:node|bun|python3?|ruby|perl|pwsh|(?:ba|da|z)?sh)(?:\.exe)?$/i.test(name);
  return isInterpreter && script !== undefined && !script.startsWith("-") ? basename(script) : name;
}
