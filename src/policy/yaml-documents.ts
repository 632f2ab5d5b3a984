import { Document, Scalar } from 'yaml';

export type YamlDocument = Readonly<{ comment: readonly string[]; value: unknown }>;

/** Several lines as they are (`|`), as people expect keys and Rego. */
export function block(text: string): Scalar<string> {
  const scalar = new Scalar(text);
  scalar.type = Scalar.BLOCK_LITERAL;
  return scalar;
}

/** Written by the library's rules of YAML 1.1, as Kubernetes reads it: a namespace `on` or `12e3` and a host `1:20` stay strings. */
export const toYaml = (documents: readonly YamlDocument[]): string =>
  documents
    .map(({ comment, value }) => {
      const document = new Document(value, { schema: 'yaml-1.1', aliasDuplicateObjects: false });
      document.commentBefore = comment.map((line) => ` ${line}`).join('\n');
      return document.toString({ lineWidth: 0 });
    })
    .join('---\n');
