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

function read(x) {
  if (typeof x === "string") return number(x);
  if (x === null || typeof x !== "object") return x;
  if (Array.isArray(x)) return x.map(read);
  return Object.fromEntries(Object.entries(x).map(([name, value]) => [name, read(value)]));
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
    const found = table[kase.operation]?.(read(kase.arguments));
    if (found === undefined) return "not offered";
    return "result" in kase && fits(found, kase.result) ? "passed" : "failed";
  } catch (error) {
    return kase.refusal && error instanceof ERRORS[kase.refusal] ? "passed" : "failed";
  }
}

// Return by clause which cases passed, failed, or are not offered by the table.
export function check(path, table) {
  const found = {};
  for (const kase of JSON.parse(readFileSync(path, "utf8")).cases) {
    const kind = outcome(kase, table);
    for (const clause of kase.clauses) ((found[clause] ??= {})[kind] ??= []).push(kase.id);
  }
  return found;
}

// Print the numbers, and of what failed the first; return whether nothing did.
export function report(found) {
  for (const [clause, kinds] of Object.entries(found)) {
    const parts = Object.entries(kinds).sort().map(([kind, ids]) => `${ids.length} ${kind}`);
    console.log([clause, ...parts, ...(kinds.failed ?? []).slice(0, 1)].join("  "));
  }
  return !Object.values(found).some((kinds) => kinds.failed);
}
