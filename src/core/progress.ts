/** What a run says while it works. Rendering (bars, lines, JSON) belongs to the command line. */
export type ProgressEvent =
  | Readonly<{ type: 'phase'; phase: 'resolve' | 'plan' | 'fetch' | 'verify' | 'push' | 'tag' | 'commit'; detail?: string }>
  /** The work ahead in the current phase; bytes of content, not of the wire. */
  | Readonly<{ type: 'total'; bytes: number; items: number }>
  | Readonly<{ type: 'bytes'; count: number }>
  | Readonly<{ type: 'item'; name: string; outcome: string; bytes?: number; detail?: string }>
  | Readonly<{ type: 'warning'; text: string }>;

export type Reporter = (event: ProgressEvent) => void;
