// Loaded with --import: at its end the process writes the most memory that it ever held, in KiB, into the file named by REPORT_MEMORY.
import { writeFileSync } from 'node:fs';

process.on('exit', () => writeFileSync(process.env.REPORT_MEMORY, String(process.resourceUsage().maxRSS)));
