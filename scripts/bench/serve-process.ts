/** A writable registry of ours over a directory, as a process of its own: `serve-process.ts DIRECTORY PORT`. */
import { flushCompileCache } from 'node:module';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { openDiskContent } from '../../src/serve/disk-content.ts';
import { startRegistry } from '../../src/serve/server.ts';

const [directory, port] = process.argv.slice(2);
if (directory === undefined || port === undefined) throw new Error('want: serve-process.ts DIRECTORY PORT');
await startRegistry({ content: await openDiskContent(nodeFileSystem, directory), port: Number(port) });
// The bench kills it, and a process that is killed writes no cache: without one each start strips the types anew, in 45 MiB more.
flushCompileCache();
