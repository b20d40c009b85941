/** Caching mode page: the write cache is on, so only flushes and FUA make data stable (SBC-3, 6.5.6). */
const caching = Buffer.alloc(20);
caching[0] = 0x08;
caching[1] = 18;
caching[2] = 0x04;

/** Control mode page: fixed format sense, unrestricted reordering (SPC-4, 7.5.9). */
const control = Buffer.alloc(12);
control[0] = 0x0a;
control[1] = 10;
control[3] = 0x10;

const pages: ReadonlyMap<number, Buffer> = new Map([
  [0x08, caching],
  [0x0a, control],
]);

/** Pages of a MODE SENSE: all (`0x3f`) or one; `null` for one that does not exist. Nothing is changeable. */
export function modePages(pageCode: number, subpage: number, changeable: boolean): Buffer | null {
  if (subpage !== 0 && subpage !== 0xff) return null;
  let chosen: Buffer[];
  if (pageCode === 0x3f) chosen = [...pages.values()];
  else {
    const page = pages.get(pageCode);
    if (page === undefined) return null;
    chosen = [page];
  }
  if (!changeable) return Buffer.concat(chosen);
  return Buffer.concat(
    chosen.map((page) => {
      const empty = Buffer.alloc(page.length);
      page.copy(empty, 0, 0, 2);
      return empty;
    }),
  );
}

/** Device-specific parameter: WP for accesses that may not write, DPOFUA always (SBC-3, 6.5.2). */
export const deviceSpecificParameter = (readOnly: boolean): number => (readOnly ? 0x90 : 0x10);
