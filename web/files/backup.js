// A backup: the gateway makes it, the browser fetches it piece by piece and saves it.
import { call } from "./api.js";

const MAKE_MS = 600000; // a large store on a slow card
const KEEP_MS = 60000;  // until the browser has taken the file

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// `progress` is told how many of all bytes are here. Returns the name of the file.
export async function saveBackup(progress) {
  const made = await call("backup", {}, MAKE_MS);
  const pieces = [];
  let have = 0;
  for (let offset = 0; offset !== null;) {
    const piece = await call("backup-read", { file: made.file, offset });
    const bytes = bytesOf(piece.data);
    pieces.push(bytes);
    have += bytes.length;
    offset = piece.next;
    progress(have, made.bytes);
  }
  if (have !== made.bytes) throw new Error(`${have} of ${made.bytes} bytes came`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(pieces, { type: "application/octet-stream" }));
  link.download = made.file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEEP_MS);
  return made.file;
}
