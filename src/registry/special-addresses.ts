import { BlockList, isIP } from 'node:net';

/** IANA special-purpose registry (RFC 6890 and after), multicast (RFC 5771) and what is reserved: nothing here is a host of the internet. */
const SPECIAL_V4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const;

/** `::/96` holds `::`, `::1` and the old `::127.0.0.1`; 2001::/32 and 2002::/16 (Teredo, 6to4) carry another address inside. */
const SPECIAL_V6 = [
  ['::', 96],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 32],
  ['2001:2::', 48],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
  ['5f00::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const;

type Range = readonly [address: string, bits: number];

/** An IPv4 range counts in its IPv6 clothes too: mapped (RFC 4291) and NAT64 (RFC 6052), where public ones must go on working. */
function rangesOf(v4: readonly Range[], v6: readonly Range[]): BlockList {
  const list = new BlockList();
  for (const [address, bits] of v4) {
    list.addSubnet(address, bits, 'ipv4');
    list.addSubnet(`::ffff:${address}`, 96 + bits, 'ipv6');
    list.addSubnet(`64:ff9b::${address}`, 96 + bits, 'ipv6');
  }
  for (const [address, bits] of v6) list.addSubnet(address, bits, 'ipv6');
  return list;
}

const SPECIAL = rangesOf(SPECIAL_V4, SPECIAL_V6);
/** 169.254.169.254 (fd00:ec2::254) answers with credentials of the machine itself: no registry has business there, wherever it is. */
const LINK_LOCAL = rangesOf(
  [['169.254.0.0', 16]],
  [
    ['fe80::', 10],
    ['fd00:ec2::254', 128],
  ],
);

/** False for what is no address. */
const within = (list: BlockList, text: string): boolean => {
  const address = text.replace(/%.*$/, '');
  const version = isIP(address);
  return version !== 0 && list.check(address, version === 4 ? 'ipv4' : 'ipv6');
};

/** An address that is not one of the public internet; false for a name. */
export const isPrivateAddress = (address: string): boolean => within(SPECIAL, address);

/** An address of the own link, where clouds keep the secrets of a machine; false for a name. */
export const isLinkLocalAddress = (address: string): boolean => within(LINK_LOCAL, address);
