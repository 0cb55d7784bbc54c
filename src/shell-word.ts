/** A word as a shell takes it, so that the command in a hint can be pasted. A leading `~/` keeps its meaning. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./~-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
