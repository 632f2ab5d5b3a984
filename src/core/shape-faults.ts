import { printable } from './printable.ts';

/** What a schema found wrong (zod's issues have this shape). */
type Faulty = Readonly<{ issues: readonly Readonly<{ path: readonly PropertyKey[]; message: string }>[] }>;

const FAULT_CHARS = 300;

/**
 * Where a document has the wrong shape and why, for an error message. Path and message quote names out of the document, which whoever wrote it
 * chose.
 */
export const shapeFaults = ({ issues }: Faulty, most: number): string[] =>
  issues
    .slice(0, most)
    .map(({ path, message }) => printable(`${path.map(String).join('.') || 'top level'}: ${message}`, FAULT_CHARS));
