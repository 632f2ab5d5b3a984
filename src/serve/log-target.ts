import { dirname } from 'node:path';
import { diskError, isSystemError } from '../core/errors.ts';
import type { FileSystem, WriteHandle } from '../files/file-system.ts';
import type { LogTarget } from './log-sink.ts';

/** Only the owner and its group read who asked for what. */
const LOG_MODE = 0o640;

/** Adds to the file, made when absent. @throws BundleError E_DISK when it can't be opened */
export async function fileTarget(fs: FileSystem, path: string): Promise<LogTarget> {
  const open = async (): Promise<WriteHandle> => {
    try {
      return await fs.append(path);
    } catch (error) {
      if (!isSystemError(error, 'ENOENT')) throw diskError(error, `opening the access log ${path}`);
    }
    try {
      await fs.mkdir(dirname(path));
      return await fs.create(path, LOG_MODE);
    } catch (error) {
      throw diskError(error, `making the access log ${path}`);
    }
  };
  let handle = await open();
  return {
    write: (bytes) => handle.write(bytes),
    async reopen() {
      const fresh = await open();
      const old = handle;
      handle = fresh;
      await old.close();
    },
    close: () => handle.close(),
  };
}
