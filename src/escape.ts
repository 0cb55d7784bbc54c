/**
 * Shows the control characters of a line instead of obeying them (a terminal must not be steered by what a
 * server or a backend says), and those that reorder or break a line. A tab is left alone, or shown as `tab`.
 */
export function escapeControl(line: string, tab = "\t"): string {
  return line.replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, (character) => {
    switch (character) {
      case "\t":
        return tab;
      case "\n":
        return "\\n";
      case "\r":
        return "\\r";
      case "\u001b":
        return "\\e";
      default:
        return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
    }
  });
}
