import { writeFileSync } from 'node:fs';
import { createBlockStorage, definePlugin, systemClock, systemRandom } from '@scoria/core';
import { MemoryBackend, memoryDriver } from '@scoria/driver-memory';
import { createSqliteStore } from '@scoria/store-sql';
import { createLocalIdentity, openrc } from '@scoria/identity-local';
import { z } from 'zod';
import { createHttpServer } from '../src/http/server.ts';
const exports = new Map<string, any>();
const transport = definePlugin({ name: 'listed', kind: 'transport', api: '^1.0', config: z.strictObject({}), create: () => ({
  reaches: ['memory'], async start(){}, async stop(){}, async export(r:any){exports.set(r.accessId,r)}, async unexport(id:string){exports.delete(id)},
  async list(){return [...exports.values()].map((r)=>({accessId:r.accessId,volumeId:r.volumeId,readOnly:r.readOnly,sessions:[]}))}, async resize(){}, async hold(){return null}, async release(){return {held:true}}, async copy(){},
  connectionInfo: (r:any)=>({driverVolumeType:'iscsi',data:{target_iqn:'iqn.test:'+r.accessId,target_portal:'127.0.0.1:3260',target_lun:0,auth_method:'CHAP',auth_username:'u',auth_password:r.secret}}), async stats(){return []},
}) as any });
const identity = await createLocalIdentity({ file: '/tmp/w/dev/identity.json', clock: systemClock, random: systemRandom });
const storage = await createBlockStorage({
  store: createSqliteStore({ path: ':memory:' }),
  plugins: { backends: { memory: { plugin: memoryDriver({ backend: new MemoryBackend({ backendId: systemRandom.uuid() }) }), transport: 'listed' } }, transports: { listed: { plugin: transport } } },
  accessKey: new Uint8Array(32), baseDirectory: '/', settings: { host: 'host' },
});
const http = createHttpServer({ storage, identity, authenticator: identity, log: false, checkResponses: true, clock: systemClock, random: systemRandom });
http.addHook('onSend', async (req, reply, payload) => { if (reply.statusCode >= 400) console.log(req.method, req.url, reply.statusCode, String(payload).slice(0, 500)); return payload; });
const url = await http.listen({ host: '127.0.0.1', port: 18776 });
if (identity.initialPassword) writeFileSync('/tmp/w/dev/openrc', openrc({ authUrl: url + '/identity/v3', userName: 'admin', password: identity.initialPassword, projectName: 'admin' }));
console.log('listening', url);
process.on('SIGTERM', async () => { await http.close(); await storage.stop(); process.exit(0); });
