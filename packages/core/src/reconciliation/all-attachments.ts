import type { Attachment } from '../attachment/attachment.ts';
import type { Store } from '../store/store.ts';

const page = 1_000;

/** Every project's attachments. What is added meanwhile may be missing. */
export async function allAttachments({ reading }: Pick<Store, 'reading'>): Promise<Attachment[]> {
  const all: Attachment[] = [];
  for (;;) {
    const last = all.at(-1);
    const some = await reading.attachments.list('every-project', {
      sort: [{ field: 'id', direction: 'asc' }],
      limit: page,
      ...(last && { where: [{ field: 'id', op: 'gt', value: last.id }] }),
    });
    all.push(...some);
    if (some.length < page) return all;
  }
}
