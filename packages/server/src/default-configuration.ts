/**
 * The configuration of a start without `--config`: two backends of files in the data directory, a volume type for each,
 * and the embedded iSCSI target. It is text, so that it can be printed, kept and changed.
 */
export const defaultConfiguration = `# Scoria's configuration. Relative paths count from the data directory.
listen: 127.0.0.1:8776
defaultVolumeType: file-1

transports:
  iscsi:
    plugin: '@scoria/driver-iscsi'
    config:
      listen: ['127.0.0.1:3260']

backends:
  file-1:
    plugin: '@scoria/driver-file'
    transport: iscsi
    config:
      directory: backends/file-1
  file-2:
    plugin: '@scoria/driver-file'
    transport: iscsi
    config:
      directory: backends/file-2

scheduler:
  filters:
    - plugin: '@scoria/scheduler-weighers/availability-zone-filter'
    - plugin: '@scoria/scheduler-weighers/capabilities-filter'
    - plugin: '@scoria/scheduler-weighers/capacity-filter'
  weighers:
    - plugin: '@scoria/scheduler-weighers/capacity-weigher'
    - plugin: '@scoria/scheduler-weighers/allocated-capacity-weigher'

volumeTypes:
  - name: file-1
    description: Files in the first backend
    extraSpecs: { volume_backend_name: file-1 }
  - name: file-2
    description: Files in the second backend
    extraSpecs: { volume_backend_name: file-2 }
`;
