import yargs from 'yargs';
import { BundleError } from '../core/errors.ts';
import { NO_COMMAND, toModules } from './command.ts';
import { COMMANDS, NOUNS } from './commands/index.ts';
import type { Context } from './context.ts';
import { checkFlagValues, failureStyle } from './early-flags.ts';
import { reportFailure, reportInterrupted } from './render/failure.ts';
import { VERSION } from './version.ts';

/** Runs one command line and says with what code the process should end. Nothing here touches the process itself. */
export async function run(argv: readonly string[], context: Context): Promise<number> {
  let command: (() => Promise<number | undefined>) | undefined;
  let misunderstood: string | undefined;
  const parser = yargs()
    .scriptName('bundle')
    .usage('$0 <command>\n\nCarries images across an air gap: pull into a signed bundle here, verify and load it there.')
    .parserConfiguration({
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'dot-notation': false,
      'greedy-arrays': false,
      // `--no-verify` must be an unknown flag, not "verify: false".
      'boolean-negation': false,
      'camel-case-expansion': false,
    })
    .version(VERSION)
    // The same words in the executable, which has no translations, and in a clone.
    .locale('en')
    .help()
    .alias('h', 'help')
    .wrap(Math.min(120, context.terminalWidth()))
    .strict()
    .demandCommand(1, NO_COMMAND)
    .exitProcess(false)
    .showHelpOnFail(false)
    .epilogue('Each flag can be set as BUNDLE_<FLAG>. Exit codes and formats: docs/design.md')
    .fail((message: string | null, error: Error | undefined) => {
      // YError is yargs' own: a flag without its value, for example.
      if (error !== undefined && error.name !== 'YError') throw error;
      misunderstood = message ?? error?.message ?? "this command line can't be understood";
      throw new BundleError('E_USAGE', misunderstood);
    });
  for (const module of toModules(COMMANDS, NOUNS, context, (chosen) => (command = chosen))) parser.command(module);
  try {
    checkFlagValues(argv);
    await parser.parseAsync([...argv], {}, (_error, _argv, output) => {
      if (output !== '') context.stdout(`${output}\n`);
    });
    return (await command?.()) ?? 0;
  } catch (error) {
    const style = failureStyle(argv, context.env);
    if (context.signal.aborted) return reportInterrupted(context, style.json);
    return reportFailure(misunderstood === undefined ? error : await explained(misunderstood, argv), context, style);
  }
}

/** Loaded when it is needed: a command line that is right should start fast. */
async function explained(said: string, argv: readonly string[]): Promise<BundleError> {
  const { usageError } = await import('./usage-error.ts');
  return usageError(said, argv, COMMANDS);
}
