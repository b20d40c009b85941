import { expect, test } from 'vitest';
import { logicalVolumeOf } from '../src/logical-volume.ts';
import { LvmError } from '../src/lvm-error.ts';
import { parseRanges, parseWhole, wholeReportOf } from '../src/lvm-report.ts';

/** As LVM 2.03.16 printed it, shortened to one group with each kind of logical volume. */
const report = `  {
      "report": [
          {
              "vg": [
                  {"vg_name":"vg", "vg_size":"1069547520", "vg_free":"994050048", "vg_extent_size":"4194304", "vg_missing_pv_count":"0", "vg_tags":"scoria.backend=b,scoria.installation=i"}
              ]
              ,
              "pv": [
              ]
              ,
              "lv": [
                  {"lv_name":"pool", "lv_uuid":"1U01j9-pLYb-cJWT-j4dc-tN46-EgI4-Mdlx2N", "lv_size":"67108864", "lv_attr":"twi-aotzD-", "lv_tags":"", "lv_active":"active", "lv_device_open":"open", "lv_snapshot_invalid":"unknown", "lv_health_status":"out_of_data", "origin":"", "origin_size":"", "pool_lv":"", "data_percent":"100.00", "metadata_percent":"11.52", "lv_metadata_size":"4194304", "lv_when_full":"error"},
                  {"lv_name":"s1", "lv_uuid":"zwflnu-lDMb-prar-PxzL-D3I1-0Ujg-kq6AY3", "lv_size":"104857600", "lv_attr":"Vwi-a-tz--", "lv_tags":"", "lv_active":"active", "lv_device_open":"", "lv_snapshot_invalid":"unknown", "lv_health_status":"", "origin":"v1", "origin_size":"", "pool_lv":"pool", "data_percent":"64.00", "metadata_percent":"", "lv_metadata_size":"", "lv_when_full":""},
                  {"lv_name":"snap-b", "lv_uuid":"0eXwtn-2ZyX-WZ1X-NNhV-5Af8-4dLD-ULiLpb", "lv_size":"4194304", "lv_attr":"swi-I-s---", "lv_tags":"", "lv_active":"active", "lv_device_open":"", "lv_snapshot_invalid":"snapshot invalid", "lv_health_status":"", "origin":"volume-a", "origin_size":"8388608", "pool_lv":"", "data_percent":"100.00", "metadata_percent":"", "lv_metadata_size":"", "lv_when_full":""},
                  {"lv_name":"volume-a", "lv_uuid":"HkbZCG-iGiv-9vqs-Ii7f-cGYb-2zw0-W4egWu", "lv_size":"8388608", "lv_attr":"owi-a-s---", "lv_tags":"scoria", "lv_active":"active", "lv_device_open":"", "lv_snapshot_invalid":"unknown", "lv_health_status":"", "origin":"", "origin_size":"8388608", "pool_lv":"", "data_percent":"", "metadata_percent":"", "lv_metadata_size":"", "lv_when_full":""},
                  {"lv_name":"volume-b", "lv_uuid":"lBkSxG-bX3k-zJb9-k3NQ-32X6-yXXP-Gk3M3m", "lv_size":"8388608", "lv_attr":"-wi-----p-", "lv_tags":"", "lv_active":"", "lv_device_open":"", "lv_snapshot_invalid":"unknown", "lv_health_status":"partial", "origin":"", "origin_size":"", "pool_lv":"", "data_percent":"", "metadata_percent":"", "lv_metadata_size":"", "lv_when_full":""}
              ]
              ,
              "pvseg": [
              ]
              ,
              "seg": [
                  {"chunk_size":"65536", "zero":"zero", "discards":"passdown", "thin_id":"", "lv_name":"pool"}
              ]
          }
      ]
  }
`;

test('a report of LVM is read whole', () => {
  const { group, volumes, segments } = parseWhole('vg', report);
  expect(group).toMatchObject({ vg_free: 994_050_048, vg_tags: ['scoria.backend=b', 'scoria.installation=i'] });
  const [pool, thin, snapshot, origin, partial] = volumes.map((row) => logicalVolumeOf(row, segments[0]));
  expect(pool).toMatchObject({
    layer: 'thin-pool',
    health: 'out_of_data',
    settings: { chunkSize: 65_536, zeroes: true, failsWhenFull: true, discards: true },
  });
  expect(thin).toMatchObject({ layer: 'thin', size: 104_857_600, usedBytes: 67_108_864, origin: 'v1', pool: 'pool' });
  expect(snapshot).toMatchObject({
    layer: 'thick-snapshot',
    size: 8_388_608,
    usedBytes: 4_194_304,
    origin: 'volume-a',
    invalid: true,
  });
  expect(origin).toMatchObject({ layer: 'linear', size: 8_388_608, invalid: false, tags: ['scoria'] });
  expect(partial).toMatchObject({ layer: 'linear', active: false, health: 'partial' });
});

test('a message of LVM among the lines of a report does not spoil it', () => {
  const disturbed = report.replace('"report": [\n', '"report": [\n  Retrying metadata scan.\n');
  expect(parseWhole('vg', disturbed)).toEqual(parseWhole('vg', report));
});

test('a group is asked for by one command, and by no name that could be an option', () => {
  const args = wholeReportOf('vg');
  expect(args[0]).toBe('fullreport');
  expect(args.at(-1)).toBe('vg');
});

test('ranges of extents are those that lvextend takes', () => {
  const stdout = '{"report":[{"lv":[{"seg_pe_ranges":"/dev/sda:2-3"},{"seg_pe_ranges":"/dev/sdb:0-9 /dev/sdc:0-9"}]}]}';
  expect(parseRanges('vg', 'growth', stdout)).toEqual(['/dev/sda:2-3', '/dev/sdb:0-9', '/dev/sdc:0-9']);
});

/** What LVM 2.03.16 said, and what it means. */
test.each([
  ['Volume group "vg" has insufficient free space (254 extents): 2000 required.', 'device-no-space'],
  [
    'WARNING: Thin pool vg/pool is out of data space.\n  Cannot create new thin volume, free space in thin pool vg/pool reached threshold.',
    'device-no-space',
  ],
  ['Logical Volume "volume-1" already exists in volume group "vg"', 'conflict'],
  ['Failed to find logical volume "vg/nosuch"', 'backend-object-missing'],
  ['Existing logical volume "volume-2" not found in volume group "vg"', 'backend-object-missing'],
  ['Volume group "nosuch" not found\n  Cannot process volume group nosuch', 'backend-unavailable'],
  [
    "WARNING: Couldn't find device with uuid Ucpd3o.\n  Cannot change VG vg while PVs are missing.\n  See vgreduce --removemissing and vgextend --restoremissing.\n  Cannot process volume group vg",
    'backend-unavailable',
  ],
  ["Refusing activation of partial LV vg/volume-b.  Use '--activationmode partial' to override.", 'backend-unavailable'],
  ['Logical volume vg/volume-1 in use.', 'backend-busy'],
  ['Unable to split an open snapshot LV.', 'backend-busy'],
  ['Snapshot origin volumes can be resized only while inactive: try lvchange -an.', 'backend-failed'],
  [
    'WARNING: Thin pool vg/pool has unexpected transaction id 4, expecting 3.\n  Cannot create new thin volume, free space in thin pool vg/pool reached threshold.',
    'backend-failed',
  ],
  [
    'WARNING: Thin pool vg/pool needs check has read-only metadata.\n  Cannot create new thin volume, free space in thin pool vg/pool reached threshold.',
    'backend-failed',
  ],
  ['', 'backend-failed'],
])('%j is %s', (stderr, code) => {
  const error = new LvmError('do something', { exitCode: 5, stdout: '', stderr });
  expect(error.code).toBe(code);
  expect(error.message).toMatch(/^LVM could not do something \(exit status 5\): /);
});

test.each([
  [
    'WARNING: Remaining free space in metadata of thin pool vg/pool is too low (96.29% >= 75.00%). Resize is recommended.\n  Cannot create new thin volume, free space in thin pool vg/pool reached threshold.',
    /reached threshold\. WARNING: .* too low \(96\.29% >= 75\.00%\)/,
    /Free space/,
  ],
  [
    'WARNING: bad metadata text on /dev/sda in mda1\n  WARNING: bad metadata text on /dev/sda in mda1\n  Volume group "vg" not found\n  Cannot process volume group vg',
    /Cannot process volume group vg WARNING: bad metadata text on \/dev\/sda in mda1$/,
    /"pvs"/,
  ],
  [
    'WARNING: Thin pool vg/pool has read-only metadata.\n  Cannot create new thin volume, free space in thin pool vg/pool reached threshold.',
    /has read-only metadata/,
    /full, or need a check/,
  ],
  ['Check of pool vg/pool failed (status:1). Manual repair required!', /Manual repair/, /lvconvert --repair/],
])('%j is told with its cause, and with what to do', (stderr, message, remedy) => {
  const error = new LvmError('do something', { exitCode: 5, stdout: '', stderr });
  expect(error.message).toMatch(message);
  expect(error.remedy).toMatch(remedy);
});
