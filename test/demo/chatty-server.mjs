// The MCP project's test server behind a careless start: it prints its pid to stderr first, and its secret in three ways, and
// once more when it has to go.
const token = process.env.DEMO_TOKEN ?? "";
process.stderr.write(`pid: ${process.pid}\n`);
process.stderr.write(`plain: ${token}\n`);
process.stderr.write(`base64: ${Buffer.from(`user:${token}`).toString("base64")}\n`);
process.stderr.write(`cut: ${token.slice(0, 7)}`);
process.stdin.once("end", () => process.stderr.write(`last words: ${token}\n`));
setTimeout(async () => {
  process.stderr.write(`${token.slice(7)}\nend of chatter\n`);
  process.argv.splice(2, process.argv.length, "stdio");
  await import("@modelcontextprotocol/server-everything/dist/index.js");
}, 50);
