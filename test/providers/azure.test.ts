/** The provider as a whole on the fake vault: what every provider, store and rotatable store promises. */
import { AzureRoom } from "./azure/open.ts";
import { describeRotationContract } from "./rotation-contract.ts";

const rooms = new WeakMap<object, AzureRoom>();

describeRotationContract("azure-key-vault, on a fake vault", {
  emptyIs: "kept",
  maxValueBytes: 25 * 1024,
  looksInsteadOfLocking: true,
  placeOf: (name) => new RegExp(`https://127\\.0\\.0\\.1:\\d+/secrets/${name}`),
  async open(entries) {
    const room = await AzureRoom.start();
    for (const [name, value] of Object.entries(entries)) room.vault.add(name, { value });
    const provider = await room.open();
    const open = { provider, ref: (name: string) => ({ path: name }), dispose: () => room.stop() };
    rooms.set(open, room);
    return open;
  },
  async hang() {
    const room = await AzureRoom.start();
    room.vault.instead = () => "silence";
    return { provider: await room.open(), ref: (name) => ({ path: name }), dispose: () => room.stop() };
  },
  another: (open) => roomOf(open).open(),
  /** What is still to be had: a disabled version keeps its value, but gives it to nobody. */
  stored: async (open) => roomOf(open).vault.readableValues().join("\n"),
});

function roomOf(open: object): AzureRoom {
  const room = rooms.get(open);
  if (!room) throw new Error("the harness did not open it");
  return room;
}
