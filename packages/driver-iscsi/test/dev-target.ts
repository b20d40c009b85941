import { openPathDevice, systemClock, systemRandom } from '@scoria/core/device';
import { TargetService } from '../src/target/target-service.ts';
const [port, path, readOnly, bs] = process.argv.slice(2);
const log = (fields: unknown, message: string) => console.log(message, JSON.stringify(fields));
const service = new TargetService({ listen: [{ host: '127.0.0.1', port: Number(port) }], iqnPrefix: 'iqn.2026-11.org.scoria',
  openers: { path: openPathDevice }, clock: systemClock, random: systemRandom, log: { debug: log, info: log, warn: log, error: log } });
await service.start();
await service.export({ accessId: '11111111-1111-4111-8111-111111111111', volumeId: '22222222-2222-4222-8222-222222222222',
  device: { kind: 'path', path: path!, blockSize: bs === '4096' ? 4096 : 512 }, readOnly: readOnly === 'ro', secret: 'secretsecret12' });
console.log('ready', service.addresses);
