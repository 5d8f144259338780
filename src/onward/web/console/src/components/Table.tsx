// A table that becomes a list of cards where it is narrow. Roles, because that changes `display`, and with it what some
// browsers take for a table.
import type { ComponentChildren } from 'preact';

export interface Column<Row> {
  name: string; // the class "at-NAME" of its cells
  head: string;
  cell: (row: Row) => ComponentChildren; // null or '' is left out where it is narrow
  width?: 4 | 5 | 6 | 7 | 8 | 9 | 10 | 12 | 14 | 16; // rem; without one it takes what is left
  numeric?: boolean; // to the right
  away?: boolean; // left out below 1080 px
  sort?: { href: string; on: boolean }; // the address of the table in the order of this column, and whether it has it
}

interface Properties<Row> {
  label: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  rowKey: (row: Row) => string;
  rowProps?: (row: Row) => Record<string, string | boolean | undefined>; // data attributes
  kind?: string; // a class of its own
}

export function Table<Row>({ label, columns, rows, rowKey, rowProps, kind = '' }: Properties<Row>) {
  const classOf = ({ name, width, numeric, away }: Column<Row>) => (
    [`at-${name}`, width && `w-${width}`, numeric && 'numeric', away && 'away'].filter(Boolean).join(' '));
  return (
    <table class={`table ${kind}`} role="table" aria-label={label}>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map((column) => (
            <th key={column.name} scope="col" role="columnheader" class={classOf(column)} aria-sort={column.sort?.on ? 'descending' : undefined}>
              {column.sort ? <a href={column.sort.href}>{column.head}</a> : column.head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr key={rowKey(row)} role="row" {...rowProps?.(row)}>
            {columns.map((column) => (
              <td key={column.name} role="cell" class={classOf(column)} data-head={column.head}>{column.cell(row)}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
