/** A parsed GraphQL document, as graphql-js, gql.tada and graphql-codegen make them. */
export interface ParsedDocument {
  readonly definitions: readonly unknown[];
}

/** A document that knows the types of its answer and its variables; the text itself, or parsed. */
export type TypedDocument<Data, Variables> = (ParsedDocument | String) & { __apiType?: (variables: Variables) => Data };

/** A field of an answer: its key tells apart what is selected in it. */
export interface SelectedField {
  readonly key: string;
  /** Its value depends on arguments, so no other answer holds the same. */
  readonly hasArguments: boolean;
  /** Undefined in a scalar, whose value may be any JSON. */
  readonly fields: SelectedFields | undefined;
}

/** The fields of an object by their names in the answer. */
export type SelectedFields = ReadonlyMap<string, SelectedField>;

interface Named {
  readonly value: string;
}

/** The parts of graphql-js's nodes that are read here. */
interface Node {
  readonly kind: string;
  readonly name?: Named;
  readonly alias?: Named | undefined;
  readonly arguments?: readonly unknown[] | undefined;
  readonly selectionSet?: { readonly selections: readonly Node[] } | undefined;
}

const known = new WeakMap<ParsedDocument, SelectedFields>();

/** The fields that the document's operation selects, with its fragments put in. */
export function selectedFields(document: ParsedDocument): SelectedFields {
  let found = known.get(document);
  if (!found) {
    const nodes = document.definitions as readonly Node[];
    const operation = nodes.find((node) => node.kind === 'OperationDefinition');
    const fragments = new Map(
      nodes.filter((node) => node.kind === 'FragmentDefinition').map((node) => [node.name?.value ?? '', node]),
    );
    found = select(operation ? [operation] : [], fragments);
    known.set(document, found);
  }
  return found;
}

function select(parents: readonly Node[], fragments: ReadonlyMap<string, Node>): SelectedFields {
  const groups = new Map<string, Node[]>();
  const collect = (node: Node) => {
    for (const selection of node.selectionSet?.selections ?? []) {
      const name = selection.name?.value ?? '';
      if (selection.kind === 'Field') {
        const group = groups.get(selection.alias?.value ?? name);
        if (group) group.push(selection);
        else groups.set(selection.alias?.value ?? name, [selection]);
      } else {
        const fragment = selection.kind === 'FragmentSpread' ? fragments.get(name) : selection;
        if (fragment) collect(fragment);
      }
    }
  };
  parents.forEach(collect);
  return new Map(Array.from(groups, ([answered, nodes]) => [answered, field(nodes, fragments)]));
}

function field(nodes: readonly Node[], fragments: ReadonlyMap<string, Node>): SelectedField {
  const fields = nodes.some((node) => node.selectionSet) ? select(nodes, fragments) : undefined;
  const inner = fields && Array.from(fields, ([answered, one]) => `${answered}:${one.key}`).sort();
  const names = new Set(nodes.map((node) => node.name?.value));
  return {
    key: [...names].join('|') + (inner ? `{${inner.join(' ')}}` : ''),
    hasArguments: nodes.some((node) => node.arguments?.length) || !!(fields && [...fields.values()].some((one) => one.hasArguments)),
    fields,
  };
}
