/** The payload of an age file: 64 KiB chunks of ChaCha20-Poly1305, the last one flagged (STREAM). */
import { createDecipheriv, createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { ProviderError } from "../../../src/errors.ts";
import type { AgeHeader } from "./header.ts";

const NONCE_BYTES = 16;
const TAG_BYTES = 16;
const CHUNK_BYTES = 64 * 1024 + TAG_BYTES;

/**
 * Checks the header's MAC, then decrypts all of the payload or none of it.
 * Throws ProviderError `invalid` for a file that was changed, cut off or added to.
 */
export function openPayload(file: Buffer, header: AgeHeader, fileKey: Buffer): Buffer {
  const macKey = Buffer.from(hkdfSync("sha256", fileKey, "", "header", 32));
  const mac = createHmac("sha256", macKey).update(header.macInput).digest();
  if (!timingSafeEqual(mac, header.mac)) throw damaged();

  const payload = file.subarray(header.byteLength);
  if (payload.length < NONCE_BYTES + TAG_BYTES) throw damaged();
  const key = Buffer.from(hkdfSync("sha256", fileKey, payload.subarray(0, NONCE_BYTES), "payload", 32));
  return Buffer.concat([...chunks(payload.subarray(NONCE_BYTES), key)]);
}

function* chunks(sealed: Buffer, key: Buffer): Generator<Buffer> {
  // 11 bytes of counter, big-endian, then the flag of the last chunk.
  const nonce = Buffer.alloc(12);
  for (let at = 0, count = 0; at < sealed.length; at += CHUNK_BYTES, count++) {
    const chunk = sealed.subarray(at, at + CHUNK_BYTES);
    const isLast = at + CHUNK_BYTES >= sealed.length;
    if (chunk.length < TAG_BYTES || (chunk.length === TAG_BYTES && count > 0)) throw damaged();
    nonce.writeUIntBE(count, 5, 6);
    nonce[11] = isLast ? 1 : 0;
    yield openChunk(chunk, key, nonce);
  }
}

function openChunk(chunk: Buffer, key: Buffer, nonce: Buffer): Buffer {
  const decipher = createDecipheriv("chacha20-poly1305", key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(chunk.subarray(-TAG_BYTES));
  const plain = decipher.update(chunk.subarray(0, -TAG_BYTES));
  try {
    decipher.final();
  } catch {
    throw damaged();
  }
  return plain;
}

function damaged(): ProviderError {
  return new ProviderError("invalid", "it was changed or cut off after it was written");
}
