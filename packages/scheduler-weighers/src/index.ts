export { default as allocatedCapacityWeigher } from './allocated-capacity-weigher.ts';
export { default as availabilityZoneFilter } from './availability-zone-filter.ts';
export { default as capabilitiesFilter } from './capabilities-filter.ts';
export { default as capacityFilter } from './capacity-filter.ts';
export { default as capacityWeigher } from './capacity-weigher.ts';
