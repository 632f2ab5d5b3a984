/** Every byte, count and depth that an outside party controls. Each line says where the figure comes from. */
export const LIMITS = {
  /** OCI manifest or index: registries must take 4 MiB (distribution-spec "Pushing Manifests"); containers/image and oras stop there. */
  ociManifestBytes: 4 * 1024 * 1024,
  /** Image config, read whole to learn the platform: containers/image's cap. */
  configBytes: 4 * 1024 * 1024,
  /** index.json of a bundle: 10 000 references of about 1.5 KiB. */
  layoutIndexBytes: 32 * 1024 * 1024,
  /** bundle.json: 200 000 blobs of about 120 bytes. */
  statementBytes: 32 * 1024 * 1024,
  /** One Sigstore bundle holds the statement in base64 (4/3) and little else; the statement at hand bounds it further. */
  signatureBytes: 44 * 1024 * 1024,
  signatureOverheadBytes: 64 * 1024,
  /** The signature in it, base64: an RSA-4096 signature has 684 characters, ours at most 96. */
  signatureChars: 4096,
  /** The name of the key beside it: SHA-256 in base64 has 44. */
  keyHintChars: 1024,
  /** Generations in one bundle: two are kept by default, one a night for three years at most. */
  generations: 1000,
  /** Signature files read beside one statement: endless-signatures advisories (CVE-2024-29902, CVE-2023-33957). */
  signatureFiles: 64,
  /** Public keys read from one trust directory. */
  trustedKeys: 256,
  /** trust.json in its full form: 256 keys of about 600 bytes each. */
  trustDocumentBytes: 512 * 1024,
  /** One key in it: PEM of a P-256 key has 178 characters. */
  trustedKeyPemChars: 4096,
  /** A rotation holds two such documents, and each of its signatures holds the whole in base64: a hundred keys signed by thirty people. */
  rotationBytes: 8 * 1024 * 1024,
  keyFileBytes: 64 * 1024,
  /** The user's YAML. */
  manifestFileBytes: 4 * 1024 * 1024,
  /** YAML tokens: 20 000 images with settings of their own; 4 MiB of "a," would take the parser eight seconds. */
  manifestTokens: 600_000,
  /** Problems that one error message lists. */
  manifestProblems: 20,
  /** Files or URLs under imageLists, and extra names of one image. */
  imageLists: 64,
  aliases: 64,
  /** A blob of evidence that is read whole to be verified: Kyverno stops at 10 MB; a provenance bundle has some 10 KiB. */
  evidenceBlobBytes: 10 * 1024 * 1024,
  /** Public keys of one `verify`, and an issuer, identity or predicate type in it: URLs of workflows have 100 to 300 characters. */
  policyKeys: 64,
  identityChars: 2048,
  /** An RSA key of upstream's: checking by one of 16 384 bits takes four times as long, and nobody signs with it. */
  rsaBits: 8192,
  /** Scopes in trust.yaml: one per project that is carried. */
  trustPolicies: 1000,
  /** Signatures and attestations about one digest that are read and tried: cosign's cap on layers is 1000, on referrers Kyverno's is 50. */
  upstreamCandidates: 1000,
  /** Log entries and timestamps in one bundle: real ones have one of each; every one of them costs a signature check. */
  bundleWitnesses: 16,
  /** Sigstore's public root has 7 KiB; one with the logs and authorities of ten private instances stays below 100. */
  trustedRootBytes: 1024 * 1024,
  /** One answer of Sigstore's TUF repository, of some KiB: without it there is still the last root. */
  tufRequestMs: 10_000,
  lockFileBytes: 32 * 1024 * 1024,
  imageListBytes: 4 * 1024 * 1024,
  imageListLines: 20_000,
  registriesYamlBytes: 1024 * 1024,
  stateBytes: 8 * 1024 * 1024,
  credentialsFileBytes: 1024 * 1024,
  credentialHelperBytes: 64 * 1024,
  credentialHelperMs: 30_000,
  /** What a signer program (`--key exec:…`) prints: a PEM key has 178 bytes, a signature 96; its talk is cut to the last part. */
  signerOutputBytes: 16 * 1024,
  signerTalkChars: 500,
  signerArguments: 64,
  /** A token that waits to be touched; a KMS far away answers in a second. */
  signerMs: 60_000,
  /** From SIGTERM to SIGKILL, and for its pipes to close once it has ended: less than what the command itself is given to end (main.ts). */
  signerGraceMs: 1000,
  /** Token answers and error bodies: go-containerregistry's 64 KiB. */
  tokenBytes: 64 * 1024,
  errorBodyBytes: 64 * 1024,
  /** Opaque, but it goes into a header: nginx and Go stop near 8 KiB and 1 MiB; tokens of GitLab reach 5 KiB. */
  tokenHeaderBytes: 32 * 1024,
  /** Tag and referrer pages. */
  pageBytes: 4 * 1024 * 1024,
  pages: 1000,
  referrers: 1000,
  /** Signatures, attestations and other referrers of one locked reference, all its platforms together. */
  itemEvidence: 2000,
  /**
   * Bytes of their manifests, which stay in memory: of one locked reference, and of a whole lock or pull. Real ones have 1 to 10 KiB; 500 images with
   * five of 10 KiB on each of three manifests are 75 MiB.
   */
  imageEvidenceBytes: 32 * 1024 * 1024,
  evidenceBytes: 128 * 1024 * 1024,
  /** Small blobs that were read to be verified and wait to be stored; beyond it they are fetched a second time. */
  keptEvidenceBytes: 32 * 1024 * 1024,
  /** Blobs of evidence, one and all of one reference: SBOMs of large images have 50 MiB, Helm charts and models some hundreds. */
  carriedEvidenceBlobBytes: 1024 ** 3,
  imageEvidenceBlobBytes: 4 * 1024 ** 3,
  /** Manifests of one image that are asked about: real indexes have some twenty platforms; each costs four requests. */
  evidenceSubjects: 128,
  /** The same in a statement, with ours. */
  contentEvidence: 4000,
  /** Signatures in one `.sig`: cosign reads no more (its pkg/oci, maxLayers). */
  legacyLayers: 1000,
  /** The payload of one: containers/image's cap for a signature. */
  simpleSigningBytes: 4 * 1024 * 1024,
  /** Referrers of referrers: real chains are an SBOM, its signature and a countersignature of that. */
  referrerDepth: 8,
  tags: 100_000,
  /** Redirects per request: curl allows 50, browsers 20, no registry needs more than 3. */
  redirects: 5,
  /** Index in index: real ones are 2 deep. */
  indexDepth: 8,
  /** Descriptors in one manifest or index. */
  descriptors: 10_000,
  /** Nodes walked from the roots of one bundle (a diamond counts once). */
  graphNodes: 500_000,
  /** A blob: 1 TiB. Sizes above 2^53-1 can't be told apart in JSON. */
  blobBytes: 1024 ** 4,
  jsonDepth: 64,
  referenceChars: 512,
  /** distribution/reference: repository name with host, in characters. */
  repositoryChars: 255,
  tagChars: 128,
  /** Retry-After beyond this is an answer of "not tonight": fail with the figure instead of sleeping. */
  retryAfterMs: 5 * 60_000,
  requestTries: 6,
  tokenTries: 4,
  /** Reconnects of one blob without at least `progressBytes` of progress in between (containers/image's rule). */
  blobReconnects: 5,
  progressBytes: 1024 * 1024,
  connectMs: 15_000,
  headersMs: 60_000,
  /** No byte for this long ends the connection. */
  bodyIdleMs: 60_000,
  /** A drip below this rate over `slowWindowMs` counts as stalled: a peer can't hold a slot for ever. */
  slowBytesPerWindow: 16 * 1024,
  slowWindowMs: 60_000,
  /** ghcr.io refuses a PATCH above 4 MiB; ECR wants parts of 5 MiB or one only. */
  uploadChunkBytes: 4 * 1024 * 1024 - 64 * 1024,
  uploadTries: 4,
  // --- what clients of our own registry may do ---
  /** Request target in characters: the longest good one is a mount of two 255 character names and a sha512, under 1 KiB. nginx stops at 8 KiB. */
  urlChars: 8192,
  /** Header lines of one request: browsers send 20, clients of registries 10; Node's own cap of 2000 drops the rest without a word. */
  requestHeaders: 100,
  /** Requests that wait for the answer before them on one connection: clients of registries send none ahead. */
  pipelinedRequests: 8,
  /** Connections at once: 100 nodes with ten each. Below LimitNOFILE in the unit file, as each may hold a file open. */
  connections: 2000,
  /** An answer of which nothing at all (pieces are up to 1 MiB) was taken for this long: 1.7 KiB a second. */
  slowReaderMs: 10 * 60_000,
  /** Logins waiting for bcrypt, which takes 0.1 s each at a third of one core. */
  waitingLogins: 16,
  waitingLoginsOfOne: 4,
  htpasswdBytes: 1024 * 1024,
  users: 10_000,
  userNameChars: 255,
  /** bcrypt reads no further. */
  passwordBytes: 72,
  /** Lines of the access log that wait for a slow disk or pipe, in bytes. */
  accessLogBytes: 1024 * 1024,
  /** After the grace of running transfers: closing the store and the log. */
  shutdownMs: 10_000,
  /** One field of a line of it. */
  logFieldChars: 1024,
} as const;
