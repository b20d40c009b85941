/** One endpoint of the catalog. */
interface Endpoint {
  readonly id: string;
  readonly interface: string;
  readonly region: string;
  readonly region_id: string;
  readonly url: string;
}

/** One service of the catalog, in the form of the Identity API. */
export interface CatalogEntry {
  readonly id: string;
  readonly type: string;
  readonly name: string;
  readonly endpoints: readonly Endpoint[];
}

/** The region that all endpoints are in. */
export const region = 'RegionOne';

/**
 * The service catalog. `image` is there because `openstack volume create` looks for such an endpoint even when no image
 * is named; what answers there knows no images.
 *
 * @param baseUrl - of the service, without a slash at the end.
 * @param projectId - goes into the URL of block storage, as its clients expect.
 */
export function catalog(baseUrl: string, projectId: string): readonly CatalogEntry[] {
  const blockStorage = `${baseUrl}/v3/${projectId}`;
  return [
    service('identity', 'keystone', `${baseUrl}/identity`),
    service('volumev3', 'cinderv3', blockStorage),
    service('block-storage', 'cinder', blockStorage),
    service('image', 'glance', `${baseUrl}/image`),
  ];
}

function service(type: string, name: string, url: string): CatalogEntry {
  const endpoints = ['public', 'internal', 'admin'].map((kind) => ({
    id: `${type}-${kind}`,
    interface: kind,
    region,
    region_id: region,
    url,
  }));
  return { id: type, type, name, endpoints };
}
