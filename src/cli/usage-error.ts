import type { Options } from 'yargs';
import { BundleError } from '../core/errors.ts';
import { didYouMean, nearest } from '../manifest/did-you-mean.ts';
import { type CommandDefinition, NO_COMMAND } from './command.ts';
import { COMMON, OPTIONS } from './options.ts';

type Found = Readonly<{
  noun: string;
  /** Of a noun with several: `init`, `show`. */
  verbs: readonly string[];
  /** Absent when the verb is missing or unknown. */
  definition: CommandDefinition | undefined;
}>;

/** What yargs says of a command line, in words of ours that name the command, its flags and its arguments. No value of a flag is repeated. */
export function usageError(said: string, argv: readonly string[], commands: readonly CommandDefinition[]): BundleError {
  const words = wordsOf(argv);
  const unknown = /^Unknown (?:argument|command)s?: (.*)$/s.exec(said)?.[1]?.split(', ') ?? [];
  const first = words[0];
  // `bundle bogus lock` and `bundle --json lock` have no command, though one stands in them.
  const hasNone = said === NO_COMMAND || (first !== undefined && unknown.includes(first));
  const found = hasNone ? undefined : findCommand(words, commands);
  const stray = words.find((word) => unknown.includes(word));
  if (found === undefined) {
    if (stray !== undefined) return unknownCommand('bundle', stray, [...new Set(commands.map((c) => headOf(c)[0] as string))]);
    const hint =
      argv.length === 0 ? 'see "bundle --help"' : 'the command comes first and its flags behind it; see "bundle --help"';
    return new BundleError('E_USAGE', said, { hint });
  }
  const { definition, noun, verbs } = found;
  if (definition === undefined) {
    if (stray !== undefined) return unknownCommand(`bundle ${noun}`, stray, verbs);
    return new BundleError('E_USAGE', said, { hint: `see "bundle ${noun} --help"` });
  }
  const command = ['bundle', ...headOf(definition)].join(' ');
  const flags = unknown.filter((name) => isFlagOf(argv, name));
  const message =
    flags.length > 0
      ? flags.map((name) => unknownFlag(command, name, definition)).join('\n')
      : stray !== undefined
        ? `${command} takes no argument ${quote(stray)} here`
        : (missingArgument(said, command, definition) ?? missingValue(said) ?? wrongChoice(said, definition) ?? said);
  return new BundleError('E_USAGE', message, { hint: `see "${command} --help"` });
}

const quote = (text: string): string => JSON.stringify(text.slice(0, 100));
const dashed = (name: string): string => (name.length === 1 ? `-${name}` : `--${name}`);
/** `trust`, `init` of `trust init <dir>` */
const headOf = ({ usage }: CommandDefinition): string[] => usage.split(' ').filter((word) => !/^[<[]/.test(word));

/** What is no flag; values of flags among them, since nothing says which flags take one. */
function wordsOf(argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  const before = end === -1 ? argv : argv.slice(0, end);
  return [...before.filter((word) => !/^-./.test(word)), ...(end === -1 ? [] : argv.slice(end + 1))];
}

const isFlagOf = (argv: readonly string[], name: string): boolean =>
  argv.some((word) =>
    name.length === 1 ? /^-[^-]/.test(word) && word.includes(name) : word === `--${name}` || word.startsWith(`--${name}=`),
  );

function findCommand(words: readonly string[], commands: readonly CommandDefinition[]): Found | undefined {
  for (const [i, noun] of words.entries()) {
    const here = commands.filter((command) => headOf(command)[0] === noun);
    if (here.length === 0) continue;
    const definition = here.find((command) => {
      const [, verb] = headOf(command);
      return verb === undefined || verb === words[i + 1];
    });
    return { noun, definition, verbs: here.flatMap((command) => headOf(command).slice(1)) };
  }
  return undefined;
}

function unknownCommand(above: string, word: string, names: readonly string[]): BundleError {
  const near = didYouMean(word.slice(0, 100), names);
  return new BundleError(
    'E_USAGE',
    `${above} has no command ${quote(word)}${near === '' ? `: want ${names.join(', ')}` : near}`,
    {
      hint: `see "${above} --help"`,
    },
  );
}

function unknownFlag(command: string, name: string, definition: CommandDefinition): string {
  const near = nearest(name, [...definition.options, ...COMMON, 'help']);
  return `${command} has no flag ${dashed(name.slice(0, 100))}${near === undefined ? '' : `; did you mean ${dashed(near)}?`}`;
}

function missingArgument(said: string, command: string, { usage, positionals }: CommandDefinition): string | undefined {
  const [, got] = /^Not enough non-option arguments: got (\d+)/.exec(said) ?? [];
  const [, name] = [...usage.matchAll(/<([\w-]+)(?:\.\.)?>/g)][Number(got)] ?? [];
  if (name === undefined) return undefined;
  const { describe, choices } = positionals?.[name] ?? {};
  return `${command}: <${name}> is missing: ${[describe, choices?.join(', ')].filter((part) => part !== undefined).join(': ')}`;
}

function missingValue(said: string): string | undefined {
  const [, name] = /^Not enough arguments following: (\S+)$/.exec(said) ?? [];
  return name === undefined ? undefined : `${dashed(name)} has no value`;
}

function wrongChoice(said: string, { positionals }: CommandDefinition): string | undefined {
  const [, name, given] = /^Invalid values:\n +Argument: (\S+), Given: "(.*)", Choices: .*$/.exec(said) ?? [];
  if (name === undefined || given === undefined) return undefined;
  const positional = positionals?.[name];
  const table: Readonly<Record<string, Options>> = OPTIONS;
  const choices = positional?.choices ?? table[name]?.choices ?? [];
  const what = positional === undefined ? dashed(name) : `<${name}>`;
  return `${what}: ${quote(given)} is none of ${choices.join(', ')}${didYouMean(given, choices.map(String))}`;
}
