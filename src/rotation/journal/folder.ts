/** Where the journals of this user are; by itself, since every start looks there, and reads none of them. */
import { join } from "node:path";

export function journalFolder(stateFolder: string): string {
  return join(stateFolder, "rotations");
}
