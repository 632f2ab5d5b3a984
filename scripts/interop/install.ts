/** Installs every real program that `npm run test:interop` uses (or those named) into `.cache/tools`; what is there stays. */

import { mkdirSync } from 'node:fs';
import { unpackDebian } from './from-debian.ts';
import { buildGo } from './from-go.ts';
import { programsOf, RECIPES, type Recipe } from './recipes.ts';
import { expose, findInstalled, install, toolsFolder, writeHome } from './shelf.ts';

function wanted(names: readonly string[]): readonly Recipe[] {
  if (names.length === 0) return RECIPES.filter((recipe) => !(recipe.kind === 'go' && recipe.onlyByName));
  const matches = (recipe: Recipe, name: string): boolean =>
    recipe.name === name || programsOf(recipe).includes(name) || (recipe.kind === 'debian' && name in (recipe.roots ?? {}));
  const unknown = names.filter((name) => !RECIPES.some((recipe) => matches(recipe, name)));
  if (unknown.length > 0) throw new Error(`no recipe for ${unknown.join(', ')}: scripts/interop/recipes.ts lists them`);
  return RECIPES.filter((recipe) => names.some((name) => matches(recipe, name)));
}

async function provide(recipe: Recipe): Promise<void> {
  const started = performance.now();
  const there = findInstalled(recipe);
  const installed =
    there ?? (await install(recipe, (folder) => (recipe.kind === 'go' ? buildGo(recipe, folder) : unpackDebian(recipe, folder))));
  expose(recipe, installed);
  const how = there ? 'present' : `${((performance.now() - started) / 1000).toFixed(1)} s`;
  const origin = recipe.kind === 'go' ? 'go' : recipe.suite;
  console.log(
    `${recipe.name.padEnd(22)}${installed.version.padEnd(28)}${origin.padEnd(10)}${how.padStart(9)}  ${programsOf(recipe).join(' ')}`,
  );
}

async function inTurn(recipes: readonly Recipe[], failures: string[]): Promise<void> {
  for (const recipe of recipes) {
    await provide(recipe).catch((error: Error) => failures.push(`${recipe.name}: ${error.message}`));
  }
}

async function main(names: readonly string[]): Promise<void> {
  const started = performance.now();
  mkdirSync(toolsFolder, { recursive: true });
  writeHome();
  const recipes = wanted(names);
  const failures: string[] = [];
  // Compilers work in processes of their own while packages are unpacked.
  const built = inTurn(
    recipes.filter((each) => each.kind === 'go'),
    failures,
  );
  await inTurn(
    recipes.filter((each) => each.kind === 'debian'),
    failures,
  );
  await built;
  for (const failure of failures) console.error(`failed: ${failure}`);
  console.log(
    `${recipes.length - failures.length} of ${recipes.length} in ${((performance.now() - started) / 1000).toFixed(1)} s: ${toolsFolder}/bin`,
  );
  if (failures.length > 0) process.exitCode = 1;
}

await main(process.argv.slice(2)).catch((error: Error) => {
  console.error(`install: ${error.message}`);
  process.exitCode = 1;
});
