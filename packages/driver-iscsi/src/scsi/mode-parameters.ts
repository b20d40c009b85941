import { senseOf, type Sense } from './sense.ts';

/** Page control of MODE SENSE: which values (SPC-4, 6.11). Saved ones (3) there are none. */
export const pageControl = { current: 0, changeable: 1, defaults: 2, saved: 3 } as const;

/** A mode page: its default bytes, and which bits can be changed. */
interface ModePage {
  readonly defaults: Buffer;
  readonly changeable: Buffer;
}

const modePage = (code: number, length: number, defaults: Readonly<Record<number, number>>, changeable = defaults): ModePage => {
  const make = (bytes: Readonly<Record<number, number>>): Buffer => {
    const page = Buffer.alloc(length);
    page[0] = code;
    page[1] = length - 2;
    for (const [at, value] of Object.entries(bytes)) page[Number(at)] = value;
    return page;
  };
  return { defaults: make(defaults), changeable: make(changeable) };
};

/** Pages by code, and the bits that mean something here. */
const code = { caching: 0x08, control: 0x0a } as const;
const writeCacheBit = 0x04;
const descriptorSenseBit = 0x04;
const softwareWriteProtectBit = 0x08;

const pages: ReadonlyMap<number, ModePage> = new Map([
  // Caching: WCE is on, so only flushes and FUA make data stable (SBC-3, 6.5.6). It cannot be turned off: an initiator that did
  // would stop flushing, and not hear that a target which was started again has its defaults.
  [code.caching, modePage(code.caching, 20, { 2: writeCacheBit }, {})],
  // Control: unrestricted reordering; D_SENSE and SWP can be changed (SPC-4, 7.5.9).
  [code.control, modePage(code.control, 12, { 3: 0x10 }, { 2: descriptorSenseBit, 4: softwareWriteProtectBit })],
]);

/** The mode parameters of a logical unit, shared by all initiators (SPC-4, 7.5). They last until it is reset or closed. */
export class ModeParameters {
  #current = new Map<number, Buffer>();
  /** Whether sense data come in descriptor format (D_SENSE). */
  descriptorSense = false;
  /** Whether an initiator has forbidden to write (SWP). */
  writeProtected = false;

  constructor() {
    this.reset();
  }

  /** Puts the default values in effect. */
  reset(): void {
    this.#adopt(new Map(Array.from(pages, ([pageCode, { defaults }]) => [pageCode, Buffer.from(defaults)])));
  }

  /** Pages for MODE SENSE: one, or all with code 3Fh; `null` for one that does not exist, and for subpages: there are none. */
  sense(pageCode: number, subpage: number, control: number): Buffer | null {
    // FFh asks for all subpages, of which a page itself is the first (SPC-4, table 178).
    if (subpage !== 0x00 && subpage !== 0xff) return null;
    const chosen = pageCode === 0x3f ? [...pages.keys()] : pages.has(pageCode) ? [pageCode] : null;
    if (chosen === null) return null;
    return Buffer.concat(
      chosen.map((each) => {
        const { defaults, changeable } = pages.get(each)!;
        return control === pageControl.changeable
          ? changeable
          : control === pageControl.defaults
            ? defaults
            : this.#current.get(each)!;
      }),
    );
  }

  /** Takes the pages of a MODE SELECT, all or none of them. Gives the sense of what is wrong, else whether anything changed. */
  select(list: Buffer): Sense | boolean {
    const next = new Map(this.#current);
    for (let at = 0; at < list.length;) {
      if (list.length - at < 2) return senseOf.parameterListLengthError;
      // PS is reserved here, and what was read with MODE SENSE may be sent back.
      const pageCode = list[at]! & 0x7f;
      const page = pages.get(pageCode);
      const now = next.get(pageCode);
      if (page === undefined || now === undefined || list[at + 1] !== now[1]) return senseOf.invalidFieldInParameterList;
      const asked = list.subarray(at, at + now.length);
      if (asked.length < now.length) return senseOf.parameterListLengthError;
      for (let byte = 2; byte < now.length; byte++) {
        if (((asked[byte]! ^ now[byte]!) & ~page.changeable[byte]!) !== 0) return senseOf.invalidFieldInParameterList;
      }
      const taken = Buffer.from(asked);
      taken[0] = pageCode;
      next.set(pageCode, taken);
      at += now.length;
    }
    const changed = Array.from(next).some(([pageCode, page]) => !page.equals(this.#current.get(pageCode)!));
    this.#adopt(next);
    return changed;
  }

  #adopt(current: Map<number, Buffer>): void {
    this.#current = current;
    this.descriptorSense = (current.get(code.control)![2]! & descriptorSenseBit) !== 0;
    this.writeProtected = (current.get(code.control)![4]! & softwareWriteProtectBit) !== 0;
  }
}
