/** Unpacks a Debian recipe beside the system. */

import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { machineArchitecture, openSuite, type Suite } from '../debian/suite.ts';
import type { DebianRecipe } from './recipes.ts';
import { cacheFolder } from './shelf.ts';

const opened = new Map<string, Suite>();

function suiteOf(recipe: DebianRecipe): Suite {
  const architectures = recipe.architectures ?? [machineArchitecture()];
  const key = [recipe.suite, ...architectures].join('-');
  const known = opened.get(key);
  if (known) return known;
  const folder = join(cacheFolder, 'apt', key);
  mkdirSync(folder, { recursive: true });
  const suite = openSuite(recipe.suite, folder, architectures);
  opened.set(key, suite);
  return suite;
}

function dropOthers(recipe: DebianRecipe, folder: string, within: string): void {
  const kept = new Set(Object.values(recipe.programs).map((program) => program.path));
  for (const name of readdirSync(join(folder, within))) {
    if (!kept.has(join(within, name))) rmSync(join(folder, within, name), { recursive: true });
  }
}

/** Fills `folder` with the packages of a recipe; gives the version of the first. Throws when the mirror lacks one. */
export function unpackDebian(recipe: DebianRecipe, folder: string): string {
  const suite = suiteOf(recipe);
  const libraries = recipe.libraries ? suite.librariesOf(recipe.packages) : [];
  const versions = suite.unpack([...new Set([...recipe.packages, ...libraries])], folder);
  if (recipe.onlyProgramsIn) dropOthers(recipe, folder, recipe.onlyProgramsIn);
  const first = recipe.packages[0]?.split(':')[0] ?? '';
  const several = Object.keys(recipe.programs).length > 3;
  return several ? recipe.suite : (versions[first] ?? recipe.suite);
}
