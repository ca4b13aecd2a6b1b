// Check an implementation by the test vectors: node, and nothing else.
import { readFileSync } from "node:fs";

const SINGULAR = { inf: Infinity, "-inf": -Infinity, nan: NaN };
const ERRORS = { ValueError: RangeError, TypeError, RuntimeError: Error };

export function number(text) {
  const parts = /^(-?)0x([01])\.([0-9a-f]+)p([+-]\d+)$/.exec(text);
  if (!parts) return text in SINGULAR ? SINGULAR[text] : text;
  const [, sign, whole, fraction, exponent] = parts;
  const size = parseInt(whole + fraction, 16) * 2 ** (exponent - 4 * fraction.length);
  return sign ? -size : size;
}

export function fits(found, expected) {
  if (expected === null) return true; // null is anything
  if (typeof expected === "string") return Object.is(found, number(expected));
  if (typeof expected !== "object") return found === expected;
  if ("least" in expected || "most" in expected) {
    const { least = "-inf", most = "inf" } = expected; // a range is finite
    return Number.isFinite(found) && number(least) <= found && found <= number(most);
  }
  if (Array.isArray(expected) && found.length !== expected.length) return false;
  return Object.keys(expected).every((name) => fits(found[name], expected[name]));
}

function outcome(kase, table) {
  try {
    const found = table[kase.operation]?.(kase.arguments);
    if (found === undefined) return "not offered";
    return "result" in kase && fits(found, kase.result) ? "passed" : "failed";
  } catch (error) {
    return kase.refusal && error instanceof ERRORS[kase.refusal] ? "passed" : "failed";
  }
}

// Return by clause how many cases passed, failed, or are not offered by the table.
export function check(path, table) {
  const read = (name, value) => (typeof value === "string" ? number(value) : value);
  const counts = {};
  for (const kase of JSON.parse(readFileSync(path, "utf8")).cases) {
    const given = JSON.parse(JSON.stringify(kase.arguments), read);
    const found = outcome({ ...kase, arguments: given }, table);
    for (const clause of kase.clauses) {
      counts[clause] ??= {};
      counts[clause][found] = (counts[clause][found] ?? 0) + 1;
    }
  }
  return counts;
}

export function report(counts) {
  for (const [clause, count] of Object.entries(counts)) {
    const parts = Object.entries(count).sort().map(([kind, n]) => `${n} ${kind}`);
    console.log([clause, ...parts].join("  "));
  }
  return !Object.values(counts).some((count) => count.failed);
}
