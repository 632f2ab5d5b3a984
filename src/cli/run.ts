import yargs from 'yargs';
import { BundleError } from '../core/errors.ts';
import { toModules } from './command.ts';
import { COMMANDS } from './commands/index.ts';
import type { Context } from './context.ts';
import { checkFlagValues, failureStyle } from './early-flags.ts';
import { reportFailure, reportInterrupted } from './render/failure.ts';
import { VERSION } from './version.ts';

/** Runs one command line and says with what code the process should end. Nothing here touches the process itself. */
export async function run(argv: readonly string[], context: Context): Promise<number> {
  let exitCode = 0;
  const done = (code: number): void => {
    exitCode = code;
  };
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
    .demandCommand(1, 'say what to do, for example: bundle pull')
    .recommendCommands()
    .exitProcess(false)
    .showHelpOnFail(false)
    .epilogue('Each flag can be set as BUNDLE_<FLAG>. Exit codes and formats: docs/design.md')
    .fail((message: string | null, error: Error | undefined) => {
      // YError is yargs' own: a flag without its value, for example.
      if (error !== undefined && error.name !== 'YError') throw error;
      const text = message ?? error?.message ?? "this command line can't be understood";
      throw new BundleError('E_USAGE', text, { hint: 'see "bundle --help"' });
    });
  for (const module of toModules(COMMANDS, context, done)) parser.command(module);
  try {
    checkFlagValues(argv);
    await parser.parseAsync([...argv], {}, (_error, _argv, output) => {
      if (output !== '') context.stdout(`${output}\n`);
    });
    return exitCode;
  } catch (error) {
    const style = failureStyle(argv, context.env);
    if (context.signal.aborted) return reportInterrupted(context, style.json);
    return reportFailure(error, context, style);
  }
}
