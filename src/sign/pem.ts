import { BundleError, type ErrorCode } from '../core/errors.ts';

export type PemBlock = Readonly<{ label: string; bytes: Buffer }>;

// RFC 7468 section 3. The body holds no '-', so the search is linear; RFC 1421 headers ("Proc-Type: …") are not part of the form.
const BLOCK = /-----BEGIN ([A-Z0-9 ]{1,60})-----([^-]*)-----END \1-----/g;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * Every PEM block of a text; text around the blocks is allowed, a block that is cut or damaged is not.
 * @throws BundleError `code` when there is no block, or one that can't be read
 */
export function pemBlocks(text: string, what: string, code: ErrorCode): PemBlock[] {
  const blocks: PemBlock[] = [];
  for (const [, label = '', body = ''] of text.matchAll(BLOCK)) {
    const bytes = strictBase64(body.replace(/\s+/g, ''));
    if (bytes === undefined) throw new BundleError(code, `${what}: the block ${label} is not base64`);
    blocks.push({ label, bytes });
  }
  const begun = text.split('-----BEGIN ').length - 1;
  if (begun === 0) throw new BundleError(code, `${what}: no PEM block in it, want one that starts with -----BEGIN`);
  if (begun !== blocks.length) throw new BundleError(code, `${what}: a PEM block in it is cut off or damaged`);
  return blocks;
}

/** `-----BEGIN LABEL-----`, base64 in lines of 64, `-----END LABEL-----`, a newline. */
export function toPem(label: string, bytes: Uint8Array): string {
  const body = Buffer.from(bytes)
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
}

/** Decodes canonical standard base64; undefined for anything that Buffer would quietly repair (other alphabets, spare bits, garbage). */
export function strictBase64(text: string): Buffer | undefined {
  if (!BASE64.test(text)) return undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}
