/** The operator's end for bench/fleet.mjs: bundled there. */
export { systemClock } from "../src/clock.ts";
export { busKey } from "../src/control/bus/names.ts";
export { BusOperator } from "../src/control/bus/operator.ts";
export { Secret } from "../src/secrets/secret.ts";
