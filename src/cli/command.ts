import type { Argv, CommandModule, PositionalOptions } from 'yargs';
import { BundleError } from '../core/errors.ts';
import type { Context } from './context.ts';
import { type Args, COMMON, OPTIONS, type OptionName } from './options.ts';

export type CommandDefinition = Readonly<{
  /** `pull`, `load <bundle>`, `keys generate` */
  usage: string;
  describe: string;
  options: readonly OptionName[];
  /** What a flag means here, where the words of the one table (options.ts) are too wide. */
  describes?: Readonly<Partial<Record<OptionName, string>>>;
  positionals?: Readonly<Record<string, PositionalOptions>>;
  examples?: readonly (readonly [string, string])[];
  /** The exit code; 0 when nothing is returned. */
  run: (args: Args, context: Context) => Promise<number | undefined>;
}>;

/** Takes what a command line asks for. It is run once yargs is done: waited for by yargs, each run would lay out the help first (12 ms). */
type Choose = (run: () => Promise<number | undefined>) => void;

/** Said where a command line has no command in the place for it. */
export const NO_COMMAND = 'say what to do, for example: bundle pull';

/** yargs takes the second word of `keys generate` for the name of an argument: such commands go below one for their first word. */
export function toModules(
  definitions: readonly CommandDefinition[],
  describeNoun: Readonly<Record<string, string>>,
  context: Context,
  choose: Choose,
): CommandModule[] {
  const nouns = new Map<string, CommandDefinition[]>();
  const modules: CommandModule[] = [];
  for (const definition of definitions) {
    const [noun, verb] = /^(\w+) (\w.*)$/.exec(definition.usage)?.slice(1) ?? [];
    if (noun === undefined || verb === undefined) modules.push(toModule(definition, context, choose));
    else nouns.set(noun, [...(nouns.get(noun) ?? []), { ...definition, usage: verb }]);
  }
  for (const [noun, verbs] of nouns) modules.push(nounModule(noun, describeNoun[noun] ?? '', verbs, context, choose));
  return modules;
}

function nounModule(
  noun: string,
  describe: string,
  verbs: readonly CommandDefinition[],
  context: Context,
  choose: Choose,
): CommandModule {
  const names = verbs.map(({ usage }) => usage.split(' ')[0]).join(', ');
  return {
    command: noun,
    describe: `${describe}: ${names}`,
    builder: (yargs: Argv) => {
      for (const verb of verbs) yargs.command(toModule(verb, context, choose));
      return yargs.demandCommand(1, `say what to do with ${noun}: ${names}`);
    },
    handler: () => undefined,
  };
}

/** One yargs command module: flags from the one table, `BUNDLE_<FLAG>` for each of them, single flags given once. */
export function toModule(definition: CommandDefinition, context: Context, choose: Choose): CommandModule {
  const names = [...definition.options, ...COMMON];
  return {
    command: definition.usage,
    describe: definition.describe,
    builder: (yargs: Argv) => {
      for (const [name, options] of Object.entries(definition.positionals ?? {})) yargs.positional(name, options);
      const described = (name: OptionName) => definition.describes?.[name] ?? OPTIONS[name].describe;
      for (const name of names) yargs.option(name, { ...OPTIONS[name], describe: described(name) });
      for (const [command, description] of definition.examples ?? []) yargs.example(command, description);
      return yargs.config(fromEnvironment(names, context.env));
    },
    handler: (argv) => {
      requireSingle(argv, names);
      const args = { ...argv } as Args;
      choose(() => definition.run(args, context));
    },
  };
}

/** Each flag of this command as `BUNDLE_<FLAG>`; lists by commas. An --insecure-… flag must be said where it can be seen. */
export function fromEnvironment(names: readonly OptionName[], env: Context['env']): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const name of names) {
    const text = env[`BUNDLE_${name.toUpperCase().replaceAll('-', '_')}`];
    if (text === undefined || text === '' || name.startsWith('insecure-')) continue;
    const { type } = OPTIONS[name];
    if (type === 'boolean') values[name] = parseBoolean(name, text);
    else values[name] = type === 'array' ? text.split(',').map((part) => part.trim()) : text;
  }
  return values;
}

function parseBoolean(name: string, text: string): boolean {
  if (['1', 'true', 'yes'].includes(text.toLowerCase())) return true;
  if (['0', 'false', 'no'].includes(text.toLowerCase())) return false;
  throw new BundleError(
    'E_USAGE',
    `BUNDLE_${name.toUpperCase().replaceAll('-', '_')}: ${JSON.stringify(text)} is not true or false`,
  );
}

function requireSingle(argv: Readonly<Record<string, unknown>>, names: readonly OptionName[]): void {
  for (const name of names) {
    const value = argv[name];
    if (Array.isArray(value) && OPTIONS[name].type !== 'array')
      throw new BundleError('E_USAGE', `--${name} is given more than once`);
    if (value === '' || (Array.isArray(value) && name !== 'update' && value.includes('')))
      throw new BundleError('E_USAGE', `--${name} has no value`);
  }
}

/** A whole number in a range. @throws BundleError E_USAGE */
export function numberFlag(args: Args, name: OptionName, min: number, max: number): number | undefined {
  const value = args[name];
  if (value === undefined) return undefined;
  const number = /^\d{1,15}$/.test(String(value)) ? Number(value) : Number.NaN;
  if (number >= min && number <= max) return number;
  throw new BundleError('E_USAGE', `--${name}: ${JSON.stringify(value)} is not a whole number from ${min} to ${max}`);
}
