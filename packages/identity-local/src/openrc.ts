import { region } from './catalog.ts';

/** What an {@link openrc} is made of. */
export interface OpenrcValues {
  /** URL of the Identity API, for example `http://127.0.0.1:8776/identity/v3`. */
  readonly authUrl: string;
  readonly userName: string;
  readonly password: string;
  readonly projectName: string;
  /** PEM file of the certificate authority, when the service speaks TLS with a certificate of its own. */
  readonly caFile?: string | undefined;
}

/**
 * Block storage microversion for clients. `openstack volume snapshot create` of python-openstackclient 6.0 always sends a
 * word that 3.66 forbids, so this is the newest with which all commands of both clients work.
 */
const blockStorageVersion = '3.65';

/** The text of a file that a shell sources so that any OpenStack client finds the service. It holds the password: mode 0600. */
export function openrc(values: OpenrcValues): string {
  const variables = {
    OS_AUTH_URL: values.authUrl,
    OS_USERNAME: values.userName,
    OS_PASSWORD: values.password,
    OS_PROJECT_NAME: values.projectName,
    OS_USER_DOMAIN_NAME: 'Default',
    OS_PROJECT_DOMAIN_NAME: 'Default',
    OS_IDENTITY_API_VERSION: '3',
    OS_VOLUME_API_VERSION: blockStorageVersion,
    OS_REGION_NAME: region,
    ...(values.caFile === undefined ? {} : { OS_CACERT: values.caFile }),
  };
  const lines = Object.entries(variables).map(([name, value]) => `export ${name}=${quote(value)}`);
  return `${lines.join('\n')}\n`;
}

/** The password in a text that {@link openrc} made; `undefined` when there is none. */
export function passwordInOpenrc(text: string): string | undefined {
  const quoted = /^export OS_PASSWORD='((?:[^']|'\\'')*)'$/m.exec(text)?.[1];
  return quoted?.replaceAll(`'\\''`, `'`);
}

function quote(value: string): string {
  return `'${value.replaceAll(`'`, `'\\''`)}'`;
}
