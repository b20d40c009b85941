/** Bytes of a test volume: small, with a hole. */
export const volumeSize = 256 * 1024;
const run = 4096;
const hole = new Uint8Array(run);

/** An image of `size` bytes that is told apart by `tag`, 1 to 254: data at both ends of the first {@link volumeSize} bytes, a hole between. */
export function image(tag: number, size = volumeSize): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes.fill(tag, 0, run);
  bytes.fill(tag + 1, volumeSize - run, volumeSize);
  return bytes;
}

/** The first bytes of a content in a larger volume, zeroes behind. */
export function grown(content: Uint8Array, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  bytes.set(content);
  return bytes;
}

/** The runs of an image that hold data. */
export function dataRuns(content: Uint8Array): { readonly offset: number; readonly data: Uint8Array }[] {
  const runs: { offset: number; data: Uint8Array }[] = [];
  for (let offset = 0; offset < content.length; offset += run) {
    const data = content.subarray(offset, offset + run);
    if (Buffer.compare(data, hole) !== 0) runs.push({ offset, data });
  }
  return runs;
}
