import { readdir, readFile, readlink, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** Most holders that are named. */
const enough = 5;
/** Longest name of a process that is told, characters. */
const longestName = 32;

/**
 * Who keeps a block device open on this host, in words: mounts, devices built on it, processes. What this process may
 * not look at is left out.
 *
 * @param path - the device node or a link to it.
 */
export async function holdersOf(path: string): Promise<readonly string[]> {
  const node = await realpath(path).catch(() => undefined);
  if (node === undefined) return [];
  const kernelName = await kernelNameOf(node);
  const found: string[] = [];
  for (const look of [mounts, stacked, processes]) {
    for (const holder of await look(node, kernelName).catch(() => [])) {
      found.push(holder);
      if (found.length === enough) return found;
    }
  }
  return found;
}

/** Device-mapper's nodes may be files of their own, so that only sysfs knows which `dm-N` a name is. */
async function kernelNameOf(node: string): Promise<string> {
  for (const name of await readdir('/sys/class/block').catch(() => [])) {
    if (!name.startsWith('dm-')) continue;
    const mapping = await readFile(`/sys/class/block/${name}/dm/name`, 'utf8').catch(() => '');
    if (mapping.trim() === basename(node)) return name;
  }
  return basename(node);
}

async function mounts(node: string, kernelName: string): Promise<readonly string[]> {
  const device = (await readFile(`/sys/class/block/${kernelName}/dev`, 'utf8')).trim();
  const table = await readFile('/proc/self/mountinfo', 'utf8');
  return table.split('\n').flatMap((line) => {
    // proc_pid_mountinfo(5): id, parent, major:minor, root, mount point …
    const [, , mounted, , point = '?'] = line.split(' ');
    return mounted === device || line.includes(` ${node} `) ? [`mounted on ${point}`] : [];
  });
}

async function stacked(_node: string, kernelName: string): Promise<readonly string[]> {
  return (await readdir(`/sys/class/block/${kernelName}/holders`)).map((name) => `used by device ${name}`);
}

async function processes(node: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const descriptors = await readdir(join('/proc', pid, 'fd')).catch(() => []);
    for (const descriptor of descriptors) {
      const target = await readlink(join('/proc', pid, 'fd', descriptor)).catch(() => '');
      if (target !== node) continue;
      const name = await readFile(join('/proc', pid, 'comm'), 'utf8').catch(() => '?');
      found.push(`open in process ${pid} (${name.trim().slice(0, longestName)})`);
      break;
    }
    if (found.length === enough) break;
  }
  return found;
}
