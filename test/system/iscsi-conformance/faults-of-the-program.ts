/** Tests of libiscsi's test program that are wrong themselves, each with the proof. */
export const faultsOfTheProgram: Readonly<Record<string, string>> = {
  'SCSI.GetLBAStatus.UnmapSingle':
    'asks from block n + 1 and wants the first descriptor to begin at n + 8; SBC-4, 5.9.2 has it begin at the block that was asked for',
  'SCSI.WriteAtomic16.Simple':
    'writes up to 256 blocks at once, bounded by MAXIMUM TRANSFER LENGTH; MAXIMUM ATOMIC TRANSFER LENGTH of the block limits page (SBC-4, 6.6.4) allows 8',
  'SCSI.WriteSame16.Unmap':
    'sends 32 MiB in one WRITE, although MAXIMUM TRANSFER LENGTH of the block limits page (SBC-4, 6.6.4) allows 4 MiB',
};
