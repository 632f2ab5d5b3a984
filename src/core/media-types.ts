export const MEDIA_TYPE = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociEmpty: 'application/vnd.oci.empty.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
  inToto: 'application/vnd.in-toto+json',
} as const;

/** Sent on every manifest request: quay.io converts or answers 404 for what is not listed literally. */
export const MANIFEST_ACCEPT = [
  MEDIA_TYPE.ociIndex,
  MEDIA_TYPE.ociManifest,
  MEDIA_TYPE.dockerList,
  MEDIA_TYPE.dockerManifest,
].join(', ');

export const isIndexType = (type: string): boolean => type === MEDIA_TYPE.ociIndex || type === MEDIA_TYPE.dockerList;
export const isImageManifestType = (type: string): boolean =>
  type === MEDIA_TYPE.ociManifest || type === MEDIA_TYPE.dockerManifest;
export const isManifestType = (type: string): boolean => isIndexType(type) || isImageManifestType(type);
export const isSchema1Type = (type: string): boolean =>
  type === MEDIA_TYPE.dockerSchema1 || type === MEDIA_TYPE.dockerSchema1Signed;
export const isImageConfigType = (type: string): boolean => type === MEDIA_TYPE.ociConfig || type === MEDIA_TYPE.dockerConfig;

/** Layers that registries need not hold: image-spec layer.md "Non-Distributable Layers", Docker's foreign layers. */
export const isForeignLayerType = (type: string): boolean => type.includes('.nondistributable.') || type.includes('.foreign.');

/** `application/json; charset=utf-8` → `application/json` (Artifactory adds parameters). */
export const withoutParameters = (contentType: string): string => (contentType.split(';')[0] ?? '').trim().toLowerCase();
