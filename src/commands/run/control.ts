/**
 * The socket of a running supervisor: who it is, a look at its secrets when somebody asks for one, and proof of what
 * its server has. Loaded when the first server runs.
 */
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import type { Request } from "../../control/protocol.ts";
import { type AnswerBody, type ControlHandlers, ControlServer } from "../../control/server.ts";
import { McpRunError } from "../../errors.ts";
import { scrubText } from "../../scrub/scrub-stream.ts";
import type { CommandContext } from "../context.ts";
import { controlPlace } from "../control-place.ts";
import type { AskedLooks } from "./asked-looks.ts";
import { CandidateCanary } from "./candidate-canary.ts";
import type { Holding } from "./holding.ts";
import { fingerprint, meantBy, namedIn } from "./meant-secrets.ts";
import { type Supervised, statusOf } from "./supervisor-status.ts";

export interface OpenControl {
  /** The session ends: nothing is started any more for others. */
  stop(): void;
  close(): Promise<void>;
}

/**
 * Throws McpRunError where there can be no socket.
 *
 * @param looks those that messages ask for; as `holding`, to be stopped by whoever made it
 */
export async function openControl(
  supervised: Supervised,
  looks: AskedLooks,
  holding: Holding | undefined,
): Promise<OpenControl> {
  const { context, needles } = supervised;
  refuseMissingHome(context);
  const { clock } = context;
  const scrub = (text: string) => scrubText(text, needles);
  const canary = new CandidateCanary(supervised);
  const handlers = handlersFor(supervised, looks, canary, holding, scrub);
  const place = controlPlace(context);
  const server = await ControlServer.listen({ place, pid: process.pid, clock, handlers, scrub });
  return {
    stop: () => canary.stop(),
    close: async () => {
      canary.stop();
      await server.close();
      await canary.close();
    },
  };
}

function handlersFor(
  supervised: Supervised,
  looks: AskedLooks,
  canary: CandidateCanary,
  holding: Holding | undefined,
  scrub: (text: string) => string,
): ControlHandlers {
  const { inUse, refreshing } = supervised;
  const isLooking = () => refreshing.outlook.isLooking || looks.isPending;
  return {
    status: () => {
      const held = holding?.status;
      return { status: { ...statusOf(supervised, isLooking(), scrub), ...(held && { holding: held }) } };
    },
    refresh: ({ renew, rotation, ...meant }) => {
      const { refs } = meant;
      const accepted = !refs || inUse.served.some((secret) => meantBy(secret, meant) !== undefined);
      if (accepted && renew) refreshing.renew?.((secret) => !refs || namedIn(secret, meant) !== undefined);
      if (accepted && rotation !== undefined) supervised.control.hurry?.();
      if (accepted) looks.ask();
      return { accepted, generation: refreshing.server.generation };
    },
    acknowledge: (request) => acknowledgement(supervised, request, isLooking()),
    ...(holding && { hold: (request, signal) => holding.ask(request, signal) }),
    canary: (request, signal) => canary.try(request, signal),
  };
}

function acknowledgement(
  { inUse, refreshing, control }: Supervised,
  request: Request<"acknowledge">,
  isChanging: boolean,
): AnswerBody<"acknowledge"> {
  return {
    pid: process.pid,
    host: hostname(),
    generation: refreshing.server.generation,
    isChanging,
    ...(control.isDraining?.() && { isDraining: true }),
    secrets: inUse.served.flatMap((secret) => {
      const meant = meantBy(secret, request);
      if (!meant) return [];
      const { name, version } = secret;
      const lease = secret.lease?.id?.();
      return [
        {
          ref: meant.ref,
          name,
          ...(version !== undefined && { version }),
          ...(lease !== undefined && { lease }),
          fingerprint: fingerprint(meant.value, request.key),
          ...(meant.isCopy && { isCopy: true as const }),
        },
      ];
    }),
  };
}

/** As everywhere, a home that does not exist is not made. */
function refuseMissingHome({ env, home }: CommandContext): void {
  if (env.MCP_RUN_HOME || existsSync(home)) return;
  throw new McpRunError("access-denied", `Cannot make a socket below ${home}: there is no such folder`, {
    hint: "MCP_RUN_HOME with a folder that can be written to",
  });
}
