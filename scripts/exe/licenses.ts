/** The licences of everything that is inside the executable or beside it, as one text. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const RULE = '='.repeat(80);

function licenseOf(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, string>;
  const file = readdirSync(folder).find((each) => /^(licen[cs]e|copying)(\.\w+)?$/i.test(each));
  const text = file
    ? readFileSync(join(folder, file), 'utf8').trim()
    : `(the package has no licence file; it names "${license}")`;
  return `${name} ${version} (${license})\n\n${text}`;
}

/** `own`: this project's licence file, when it is there. `packages`: folders under node_modules. */
export function collectLicenses(own: string, node: string, libraries: string, packages: readonly string[]): string {
  const parts = [
    ...(existsSync(own) ? [`bundle-airgap\n\n${readFileSync(own, 'utf8').trim()}`] : []),
    `Node.js\n\n${readFileSync(join(node, 'LICENSE'), 'utf8').trim()}`,
    `lib/: libatomic, libgcc_s, libstdc++\n\n${libraries.trim()}`,
    ...packages.map(licenseOf),
  ];
  return `${parts.join(`\n\n${RULE}\n`)}\n`;
}
