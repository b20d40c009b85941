import { startTransport, transportConformance, type Connect } from '@scoria/conformance';
import { describe, test } from 'vitest';
import { z } from 'zod';
import { iscsiPlugin } from '../src/plugin.ts';
import { freePort } from './free-port.ts';
import { cdbs, TestInitiator } from './test-initiator.ts';

const infoSchema = z.object({
  target_portal: z.string(),
  target_iqn: z.string(),
  auth_username: z.string(),
  auth_password: z.string(),
});

/** Bytes of one command. */
const step = 262_144;
let lastIsid = 0;

/** Logs in as the connection info says, with the secret of the request. */
const connect: Connect = async ({ data }, { secret }) => {
  const info = infoSchema.parse(data);
  const initiator = await TestInitiator.connect(Number(info.target_portal.split(':').at(-1)));
  const isid = (++lastIsid).toString(16).padStart(12, '0');
  const status = await initiator.login({ target: info.target_iqn, user: info.auth_username, secret, isid });
  if (status !== 0) throw new Error(`the login was refused with ${status.toString(16)}`);
  const send = async (...command: Parameters<TestInitiator['command']>): Promise<Buffer> => {
    for (;;) {
      const result = await initiator.command(...command);
      if (result.status === 0) return result.data;
      if (!result.sense?.startsWith('6/')) throw new Error(`the command ended with sense ${result.sense}`);
    }
  };
  const capacity = async (): Promise<number> => {
    const answer = await send(cdbs.readCapacity16, { expect: 32 });
    return (Number(answer.readBigUInt64BE(0)) + 1) * answer.readUInt32BE(8);
  };
  return {
    size: await capacity(),
    serial: (await send(cdbs.inquiry(0x80), { expect: 255 })).toString('latin1', 4),
    read: async (into, offset) => {
      for (let at = 0; at < into.length; at += step) {
        const length = Math.min(step, into.length - at);
        into.set(await send(cdbs.read10((offset + at) / 512, length / 512), { expect: length }), at);
      }
    },
    write: async (data, offset) => {
      for (let at = 0; at < data.length; at += step) {
        const part = Buffer.from(data.subarray(at, at + step));
        await send(cdbs.write10((offset + at) / 512, part.length / 512), { data: part });
      }
    },
    flush: async () => void (await send(cdbs.synchronizeCache10)),
    refreshSize: capacity,
    close: async () => initiator.close(),
  };
};

transportConformance({
  capabilities: ['point-in-time', 'mirror'],
  describe,
  test,
  create: async () => startTransport(iscsiPlugin, { listen: [`127.0.0.1:${await freePort()}`], inProcess: true }),
  connect,
});
