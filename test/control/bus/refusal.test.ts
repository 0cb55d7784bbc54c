/** What is said of an answer of JetStream that is none. */
import { JetStreamApiError } from "@nats-io/jetstream";
import { describe, expect, it } from "vitest";
import { refusalOf } from "../../../src/control/bus/refusal.ts";

describe("the refusal of a bus", () => {
  it("says of a cluster that has lost most of its servers what it lacks", () => {
    const error = new JetStreamApiError({
      code: 503,
      err_code: 10008,
      description: "temporarily unavailable",
    });

    expect(refusalOf("read the reports", error)).toMatchObject({
      code: "backend-unavailable",
      message: expect.stringMatching(
        /^Cannot read the reports on the fleet's bus: .* too few of its servers/,
      ),
      hint: expect.stringContaining("the cluster"),
    });
  });
});
