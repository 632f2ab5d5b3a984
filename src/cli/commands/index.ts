import type { CommandDefinition } from '../command.ts';
import { diffCommand } from './diff.ts';
import { inspectCommand } from './inspect.ts';
import { keysGenerateCommand } from './keys.ts';
import { loadCommand } from './load.ts';
import { lockCommand } from './lock.ts';
import { mirrorsCommand } from './mirrors.ts';
import { policyCommand } from './policy.ts';
import { pullCommand } from './pull.ts';
import { serveCommand } from './serve.ts';
import { signCommand } from './sign.ts';
import { trustAddCommand, trustInitCommand, trustRemoveCommand, trustShowCommand } from './trust.ts';
import { trustRotateCommand } from './trust-rotate.ts';
import { verifyCommand } from './verify.ts';

/** What the commands below one word have in common. */
export const NOUNS: Readonly<Record<string, string>> = {
  keys: 'key pairs to sign bundles with',
  trust: 'whom this machine trusts',
};

/** In the order of the story. */
export const COMMANDS: readonly CommandDefinition[] = [
  lockCommand,
  pullCommand,
  signCommand,
  verifyCommand,
  inspectCommand,
  diffCommand,
  loadCommand,
  mirrorsCommand,
  policyCommand,
  serveCommand,
  keysGenerateCommand,
  trustInitCommand,
  trustShowCommand,
  trustAddCommand,
  trustRemoveCommand,
  trustRotateCommand,
];
