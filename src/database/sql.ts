/** What a parameter of a statement may be. D1 has no booleans and refuses `undefined`. */
export type SqlValue = string | number | null;

/**
 * A piece of SQL with the values of its parameters. Only {@link sql} and {@link integer} make one, so its text is always text
 * of this program.
 */
export class Sql {
  readonly #strings: readonly string[];
  readonly #values: readonly (SqlValue | Sql)[];

  private constructor(strings: readonly string[], values: readonly (SqlValue | Sql)[]) {
    this.#strings = strings;
    this.#values = values;
  }

  static template(strings: TemplateStringsArray, ...values: readonly (SqlValue | Sql)[]): Sql {
    return new Sql(strings, values);
  }

  static integer(value: number): Sql {
    if (!Number.isSafeInteger(value)) throw new TypeError(`${value} is not a safe integer`);
    return new Sql([String(value)], []);
  }

  /** The text with a numbered parameter in the place of each value, and the values in the same order. */
  compile(): { text: string; values: SqlValue[] } {
    const values: SqlValue[] = [];
    const textOf = (one: Sql): string =>
      one.#strings.reduce((text, next, index) => {
        const value = one.#values[index - 1]!;
        return text + (value instanceof Sql ? textOf(value) : `?${values.push(value)}`) + next;
      });
    return { text: textOf(this), values };
  }
}

/**
 * SQL as a tagged template. A value in braces becomes a bound parameter and never text; another piece of SQL becomes part of the
 * text, with its own parameters.
 *
 * @example
 * const isActive = sql`status = ${"active"}`;
 * await prepare(db, sql`SELECT * FROM agents WHERE id = ${id} AND ${isActive}`).first();
 */
export const sql = Sql.template;

/**
 * A constant integer as text. The planner uses a partial index only if the text of the statement shows that its condition is met,
 * which a parameter cannot.
 *
 * @throws {TypeError} for anything that is not a safe integer.
 */
export const integer = Sql.integer;

/** Joins pieces of SQL. @param separator `, ` or ` AND `, in the program's own text. */
export const join = (pieces: readonly Sql[], separator: Sql): Sql =>
  pieces.reduce((joined, piece) => sql`${joined}${separator}${piece}`);

/** All of the conditions that are given, or undefined if none is. */
export function and(...conditions: readonly (Sql | false | "" | undefined)[]): Sql | undefined {
  const given = conditions.filter((one) => one instanceof Sql);
  return given.length > 0 ? join(given, sql` AND `) : undefined;
}

/**
 * SQL that sets columns, and SQL that is true of a row in which one of them has another value.
 *
 * @param values one at least.
 */
export const assignments = (
  values: readonly { readonly column: Sql; readonly value: SqlValue }[],
): { set: Sql; differs: Sql } => ({
  set: join(
    values.map(({ column, value }) => sql`${column} = ${value}`),
    sql`, `,
  ),
  differs: join(
    values.map(({ column, value }) => sql`${column} IS NOT ${value}`),
    sql` OR `,
  ),
});

/** A statement of the database with its parameters bound. */
export function prepare(db: D1Database, statement: Sql): D1PreparedStatement {
  const { text, values } = statement.compile();
  return db.prepare(text).bind(...values);
}

/** Runs a deletion that has no RETURNING. Returns how many rows it deleted, those of foreign keys not counted. */
export async function deletedRows(db: D1Database, deletion: Sql): Promise<number> {
  const { results } = await prepare(db, sql`${deletion} RETURNING 1`).all();
  return results.length;
}
