import { prettyJson } from '../core/json.ts';
import { writeFileDurable } from '../files/durable-write.ts';
import type { LoadPorts, LoadRequest } from './load.ts';
import { type Incoming, stateDirectory } from './state.ts';

/** What goes back to the connected side: which generation this target holds now. */
export async function writeReceipt(
  { bundle, target, stateRoot }: LoadRequest,
  ports: LoadPorts,
  incoming: Incoming,
): Promise<string> {
  const { name } = bundle.generation.statement.predicate;
  const path = `${stateDirectory(stateRoot, target)}/receipts/${name}.receipt.json`;
  const receipt = {
    receiptVersion: 1,
    name,
    target: target.name,
    sequence: incoming.sequence,
    statement: incoming.statement,
    loadedAt: `${new Date(ports.now()).toISOString().slice(0, 19)}Z`,
    signers: bundle.signers,
  };
  await writeFileDurable(ports.fs, path, Buffer.from(prettyJson(receipt)));
  return path;
}
