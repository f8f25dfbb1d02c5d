import { BUILT_IN_CATALOGUE, listService } from "../src/permissions/catalogue.ts";
import { limitableFields } from "../src/policy/limits.ts";
import { compileTable } from "../src/policy/rule-table.ts";
import { BUILT_IN_SERVICES } from "../src/policy/services.ts";

/** An item for each permission of a built-in service, in Markdown: the fields that a grant of it may limit. */
export function limitsList(): string {
  const rows = BUILT_IN_SERVICES.flatMap((service) => {
    const { rules, limits } = compileTable(service, BUILT_IN_CATALOGUE);
    return listService(BUILT_IN_CATALOGUE, service.name).map((permission) => {
      const needing = rules.filter(({ required }) => required.includes(permission));
      const fields = limitableFields(limits(), needing).map((name) => {
        const { isPath, closedList } = limits().get(name)!;
        const more = isPath ? " (`glob`)" : closedList ? ` (${closedList.join(", ")})` : "";
        return `\`${name}\`${more}`;
      });
      return `- \`${permission}\`: ${fields.join(", ") || "nothing"}`;
    });
  });
  return rows.join("\n");
}
