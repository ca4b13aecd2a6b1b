// A tiny implementation, checked: node small.mjs vectors.json
import { fileURLToPath } from "node:url";
import { check, report } from "./read.mjs";

const singular = (x) => !Number.isFinite(x);

export function lift({ y }) {
  if (!/float|int/.test(y.dtype)) throw new TypeError(`${y.dtype} has no lift`);
  const like = { shape: y.shape, dtype: y.dtype.includes("float") ? y.dtype : "float64" };
  const tops = y.values.map((v) => (!singular(v) ? v : v === -Infinity ? -1 : 1));
  return {
    Y_n: { ...like, values: tops },
    Y_d: { ...like, values: y.values.map((v) => (singular(v) ? 0 : 1)) },
  };
}

export function decode({ P, Q, tau_infer, tau_train, gauge }) {
  if (String(P.shape) !== String(Q.shape) || P.shape.length !== Q.shape.length)
    throw new RangeError("P and Q differ in shape");
  if (!(0 <= tau_infer && tau_infer <= tau_train && tau_train < Infinity))
    throw new RangeError("the thresholds do not exist");
  if (gauge !== "raw" && gauge !== "unit") throw new RangeError("the gauge does not exist");
  const round = { float64: (x) => x, float32: Math.fround }[P.dtype];
  if (gauge !== "raw" || !round) return undefined;
  const size = Q.values.map(Math.abs);
  const values = P.values.map((p, i) => {
    const low = singular(p) || singular(Q.values[i]) || !size[i] || size[i] < tau_infer;
    const value = low ? NaN : round(p / Q.values[i]);
    return singular(value) ? NaN : value;
  });
  const bottom = values.map(singular);
  const gap = size.map((q, i) => !bottom[i] && q < tau_train);
  return { value: { ...P, values }, bottom, gap };
}

// Quotients of this size and beyond are rounded to ∞.
const overflow = {
  float16: 65520,
  bfloat16: 2 ** 128 * (1 - 2 ** -9),
  float32: 2 ** 128 * (1 - 2 ** -25),
  float64: Infinity,
};

export function bottom_mask({ form, first, second, tau }) {
  const limit = overflow[first.dtype];
  const low = (q) => singular(q) || q === 0 || Math.abs(q) < tau;
  const flagged = {
    value: () => false,
    tuple: (q, p) => low(q) || Math.abs(p / q) >= limit,
  }[form] ?? ((flag) => flag !== 0);
  return { bottom: first.values.map((x, i) => singular(x) || flagged(second.values[i], x)) };
}

export function watch({ coverages, threshold, patience }) {
  const counters = [], stops = [];
  let bad = 0;
  for (const coverage of coverages) {
    if (coverage !== null) bad = coverage < threshold ? bad + 1 : 0;
    counters.push(bad);
    stops.push(coverage !== null && bad >= patience);
    if (stops.at(-1)) break;
  }
  return { counters, stops };
}

export function probability({ P, Q, lower_n, lower_d, upper_n, upper_d }) {
  const values = P.values.map((p, i) => {
    const q = Q.values[i], a = lower_n.values[i], b = lower_d.values[i];
    const c = upper_n.values[i], d = upper_d.values[i];
    const size = Math.hypot(a, b) * Math.hypot(c, d);
    const sine = (c * b - a * d) / size, cosine = (a * c + b * d) / size;
    if (sine === 0) return cosine < 0 ? 1 : 0; // the whole of lines, or one
    const square = p * p + q * q;
    const x = cosine + (4 * (1 + square) * (p * b - q * a) * (p * d - q * c)) / size;
    // Where the sine is negative the arc runs through infinity.
    return Math.atan2((1 + 2 * square) * Math.abs(sine), Math.sign(sine) * x) / Math.PI;
  });
  return { m: { ...P, values } };
}

export const TABLE = { lift, decode, bottom_mask, probability, watch };

if (process.argv[1] === fileURLToPath(import.meta.url))
  process.exitCode = report(check(process.argv[2], TABLE)) ? 0 : 1;
